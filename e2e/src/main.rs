//! `narthex-loadgen`: targets to scrape, with everything about them under control.

fn main() {
    todo!()
}
