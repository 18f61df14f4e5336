//! Forget: targets that discovery no longer lists leave their shards. While a job's discovery has not answered, nothing
//! of that job is forgotten; what a shard holds that cannot be told stays there, too.
//!
//! While some shard was not heard since the start, nothing is placed, because that shard may hold it; so nothing is
//! forgotten either. Otherwise a target whose labels changed would be scraped by nobody for that long.

use crate::draft::Draft;

pub(crate) fn forget(draft: &mut Draft<'_>) {
    if draft.has_unread_shards() {
        return;
    }
    for target in draft.gone() {
        for holding in draft.holders(target) {
            if draft.shards()[holding.shard].reach.can_be_told() {
                draft.forget(target, holding.shard);
            }
        }
    }
}
