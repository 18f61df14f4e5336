//! What has been heard of a catalog, and what is told of it. PURE.
//!
//! The first answers of all services are told together: nobody may take a part of them for the whole.

use std::collections::{BTreeMap, BTreeSet};

use narthex_common::config::scrape::ConsulSdConfig;

use super::{
    super::{discoverer::Update, group::TargetGroup, refreshing::summary},
    Heard,
};

/// What is known of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    /// It has never been answered.
    Awaited,
    Answered,
    Failed(String),
}

/// What has been heard so far.
#[derive(Debug)]
pub(super) struct Progress {
    wanted_services: BTreeSet<String>,
    wanted_tags: Vec<String>,
    /// The list of services; none when it is not asked for.
    list: Option<Known>,
    services: BTreeMap<String, Known>,
    /// What is told later, with everything else; none once it has been told.
    held_back: Option<Vec<TargetGroup>>,
    /// Whether everything that there is has been told once.
    complete: bool,
}

/// What follows from what was heard.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Services to be watched from now on.
    pub(super) begun: Vec<String>,
    /// Services that are gone.
    pub(super) ended: Vec<String>,
    /// What is told.
    pub(super) update: Option<Update>,
}

impl Progress {
    /// Nothing has been heard yet.
    pub(super) fn new(config: &ConsulSdConfig) -> Self {
        let wanted_services: BTreeSet<String> = config.services.iter().cloned().collect();
        let asks_for_list = wanted_services.is_empty() || !config.tags.is_empty();
        let named = wanted_services.iter().filter(|_| !asks_for_list);
        Self {
            services: named.map(|service| (service.clone(), Known::Awaited)).collect(),
            wanted_services,
            wanted_tags: config.tags.clone(),
            list: asks_for_list.then_some(Known::Awaited),
            held_back: Some(Vec::new()),
            complete: false,
        }
    }

    /// Whether the list of services is asked for.
    pub(super) const fn awaits_list(&self) -> bool {
        self.list.is_some()
    }

    /// The services that are watched.
    pub(super) fn services(&self) -> impl Iterator<Item = &str> {
        self.services.keys().map(String::as_str)
    }

    /// Whether there is something to be told later.
    pub(super) const fn is_held_back(&self) -> bool {
        self.held_back.is_some()
    }

    /// Tells what has been heard, though more is to come.
    pub(super) fn stop_holding_back(&mut self) -> Told {
        Told { update: Some(self.update(Vec::new())), ..Told::default() }
    }

    /// Takes what was heard.
    pub(super) fn hear(&mut self, what: Heard) -> Told {
        let mut told = Told::default();
        let groups = match what {
            Heard::Services(Ok(listed)) => {
                self.list = Some(Known::Answered);
                listed.map_or_else(Vec::new, |services| self.list_services(&services, &mut told))
            }
            Heard::Services(Err(why)) => {
                self.list = Some(Known::Failed(why));
                Vec::new()
            }
            Heard::Service(service, answer) => {
                // One that is gone may still have been heard of.
                let Some(known) = self.services.get_mut(&service) else { return told };
                let before = known.clone();
                let group = match answer {
                    Ok(group) => {
                        *known = Known::Answered;
                        group
                    }
                    Err(why) => {
                        *known = Known::Failed(why);
                        None
                    }
                };
                // Nothing new; of a thousand services that fail for long none says so again.
                if group.is_none() && *known == before {
                    return told;
                }
                group.into_iter().collect()
            }
        };
        if self.held_back.is_some() && self.awaits_something() {
            self.held_back.iter_mut().for_each(|held| held.extend(groups.clone()));
        } else {
            told.update = Some(self.update(groups));
        }
        told
    }

    /// Goes over to another list of services. One that is watched stays so, even if it has lost its tags.
    fn list_services(&mut self, listed: &BTreeMap<String, Vec<String>>, told: &mut Told) -> Vec<TargetGroup> {
        told.ended = self.services.keys().filter(|service| !listed.contains_key(*service)).cloned().collect();
        for service in &told.ended {
            self.services.remove(service);
        }
        for (service, tags) in listed {
            let is_wanted = (self.wanted_services.is_empty() || self.wanted_services.contains(service))
                && self.wanted_tags.iter().all(|tag| tags.contains(tag));
            if is_wanted && !self.services.contains_key(service) {
                self.services.insert(service.clone(), Known::Awaited);
                told.begun.push(service.clone());
            }
        }
        told.ended.iter().cloned().map(TargetGroup::gone).collect()
    }

    fn awaits_something(&self) -> bool {
        self.list == Some(Known::Awaited) || self.services.values().any(|known| *known == Known::Awaited)
    }

    fn update(&mut self, groups: Vec<TargetGroup>) -> Update {
        let mut told = self.held_back.take().unwrap_or_default();
        told.extend(groups);
        let mut failures: Vec<&str> = self.list.iter().chain(self.services.values()).filter_map(failure).collect();
        let not_yet;
        let awaited = self.services.values().filter(|known| **known == Known::Awaited).count();
        if self.list == Some(Known::Awaited) {
            failures.push("the list of services has not come yet");
        } else if awaited > 0 && !self.complete {
            not_yet = format!("{awaited} services have not answered yet");
            failures.push(&not_yet);
        }
        let failure = summary(&failures);
        self.complete |= failure.is_none();
        Update { groups: told, failure }
    }
}

fn failure(known: &Known) -> Option<&str> {
    match known {
        Known::Awaited | Known::Answered => None,
        Known::Failed(why) => Some(why),
    }
}
