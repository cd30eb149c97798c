//! Tests of the page that a worker shares with its node.

use std::sync::Arc;

use super::*;

fn page() -> (tempfile::TempDir, Byline, AtHand) {
    let folder = tempfile::tempdir().unwrap();
    let byline = Byline::make(&folder.path().join("node.sock"), WorkerId(7)).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(folder.path().join("w7.name")).unwrap();
    let page = Page::of(&file).unwrap();
    let at_hand = AtHand { page, running: Vec::new(), shown: None, actors: BTreeMap::new(), asked: ASKED_MAX };
    (folder, byline, at_hand)
}

#[test]
fn a_node_sees_the_name_of_what_runs_also_after_its_worker_has_gone() {
    let (folder, byline, mut at_hand) = page();
    assert_eq!(byline.look(), None);
    at_hand.show(Author::Function("my::crate_name::work"));
    assert_eq!(byline.look().as_deref(), Some("work"));
    at_hand.actors.insert(ActorId(1), "Counter:hits".to_owned());
    at_hand.show(Author::Actor(ActorId(1), "my::Counter::add"));
    drop(at_hand);
    assert_eq!(byline.look().as_deref(), Some("Counter:hits"));
    drop(byline);
    assert!(!folder.path().join("w7.name").exists());
}

#[test]
fn a_method_of_an_actor_that_is_not_known_bears_its_class() {
    let (_folder, byline, mut at_hand) = page();
    at_hand.show(Author::Actor(ActorId(1), "my::Counter::add"));
    assert_eq!(byline.look().as_deref(), Some("Counter"));
}

#[test]
fn a_worker_hears_that_it_has_written() {
    let (_folder, byline, at_hand) = page();
    assert_eq!(at_hand.page.words()[PRINTED].load(Ordering::Relaxed), 0);
    byline.look();
    assert_eq!(at_hand.page.words()[PRINTED].load(Ordering::Relaxed), 1);
}

#[test]
fn a_name_that_changes_is_read_whole_or_not_at_all() {
    const NAMES: [&str; 2] = ["a_short_name", "a_name_that_is_so_long_that_it_takes_several_words_of_the_page"];
    let (_folder, byline, mut at_hand) = page();
    // Nobody reads this test's own outputs.
    byline.printed.store(true, Ordering::Relaxed);
    let done = Arc::new(AtomicBool::new(false));
    let other = done.clone();
    let writer = std::thread::spawn(move || {
        let mut turn = 0;
        while !other.load(Ordering::Relaxed) {
            at_hand.show(Author::Function(NAMES[turn % 2]));
            turn += 1;
        }
        turn
    });
    let mut seen = 0;
    while seen < 1_000 && !writer.is_finished() {
        if let Some(name) = byline.look() {
            assert!(NAMES.contains(&name.as_str()), "{name}");
            seen += 1;
        }
        std::thread::yield_now();
    }
    done.store(true, Ordering::Relaxed);
    assert!(writer.join().unwrap() > 0);
}
