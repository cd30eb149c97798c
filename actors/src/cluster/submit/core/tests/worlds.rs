//! Random worlds: workers that run tasks at random speeds, and that come, stall, are recalled and are lost; frames that take
//! their time. Whatever happens, each task runs exactly once or is lost with its worker, and all end in the end.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
};

use super::*;

/// Where a task's right to run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    Owner,
    Worker,
}

#[derive(Clone, Debug)]
struct Errand {
    number: u64,
    right: Rc<RefCell<Vec<Right>>>,
}

impl Queued for Errand {
    fn id(&self) -> TaskId {
        Job(self.number, true).id()
    }

    fn claim(&self) -> bool {
        let mut rights = self.right.borrow_mut();
        let before = std::mem::replace(&mut rights[self.number as usize], Right::Worker);
        assert_eq!(before, Right::Owner, "a task is sent by whoever has it");
        true
    }

    fn function(&self) -> u64 {
        self.number % 3
    }

    fn put_back(&self) -> bool {
        let before = std::mem::replace(&mut self.right.borrow_mut()[self.number as usize], Right::Owner);
        assert_eq!(before, Right::Worker, "only what was sent comes back");
        true
    }
}

/// A frame to the owner.
enum Word {
    Done(u64, u64),
    GivenBack(u64, Vec<u64>),
}

#[derive(Default)]
struct Worker {
    /// What has come and has not begun.
    waiting: VecDeque<u64>,
    running: Option<(u64, u64)>,
    to_owner: VecDeque<Word>,
    to_worker: VecDeque<Vec<u64>>,
}

struct World {
    core: SubmitCore<Errand>,
    class: ClassId,
    rights: Rc<RefCell<Vec<Right>>>,
    workers: BTreeMap<u64, Worker>,
    want: u32,
    now: u64,
    next_worker: u64,
    ran: BTreeMap<u64, u32>,
    lost: BTreeSet<u64>,
    done: BTreeSet<u64>,
    taken_back: usize,
    state: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut core = SubmitCore::default();
        let class = core.class(&ClassSpec::default());
        Self {
            core,
            class,
            rights: Rc::default(),
            workers: BTreeMap::new(),
            want: 0,
            now: 0,
            next_worker: 0,
            ran: BTreeMap::new(),
            lost: BTreeSet::new(),
            done: BTreeSet::new(),
            taken_back: 0,
            state: seed * 2 + 1,
        }
    }

    /// A number below `bound` (Marsaglia's xorshift).
    fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % bound
    }

    fn one_of_the_workers(&mut self) -> Option<u64> {
        let count = self.workers.len() as u64;
        let at = (count > 0).then(|| self.below(count))?;
        self.workers.keys().nth(at as usize).copied()
    }

    fn submit(&mut self, effects: &mut Vec<SubmitEffect<Errand>>) {
        let number = self.rights.borrow().len() as u64;
        self.rights.borrow_mut().push(Right::Owner);
        self.core.on_submit(self.class, Errand { number, right: self.rights.clone() }, effects);
    }

    fn carry_out(&mut self, effects: Vec<SubmitEffect<Errand>>) {
        for effect in effects {
            match effect {
                SubmitEffect::Demand(demand) => self.want = demand.want,
                SubmitEffect::Send { worker, task, .. } => {
                    let at = self.workers.get_mut(&u64::from(worker.worker.0)).expect("sent to one that lives");
                    at.waiting.push_back(task.number);
                }
                SubmitEffect::TakeBack { worker, tasks, .. } => {
                    let all = 0..self.rights.borrow().len() as u64;
                    let tasks = all.filter(|number| tasks.contains(&Job(*number, true).id())).collect();
                    self.workers.get_mut(&u64::from(worker.worker.0)).unwrap().to_worker.push_back(tasks);
                }
                SubmitEffect::Return(lease) => {
                    let gone = self.workers.remove(&lease.number).expect("given back once");
                    assert!(gone.waiting.is_empty() && gone.running.is_none(), "nothing is left at a lease given back");
                }
                SubmitEffect::Lost(task, _) => assert!(self.lost.insert(task.number), "lost once"),
                SubmitEffect::Infeasible(..) | SubmitEffect::Cancelled(_) => panic!("nothing of the kind was done"),
            }
        }
    }

    /// One worker does one thing, or one frame arrives.
    fn work(&mut self, at: u64, effects: &mut Vec<SubmitEffect<Errand>>) {
        let took = [0, 0, 0, 0, 0, 0, 1, 40][self.below(8) as usize];
        let choice = self.below(3);
        let now = self.now;
        let Some(worker) = self.workers.get_mut(&at) else { return };
        match choice {
            0 => match worker.running {
                None => {
                    if let Some(task) = worker.waiting.pop_front() {
                        *self.ran.entry(task).or_insert(0) += 1;
                        worker.running = Some((task, now + took));
                    }
                }
                Some((task, until)) if now >= until => {
                    worker.running = None;
                    worker.to_owner.push_back(Word::Done(task, took));
                }
                Some(_) => {}
            },
            1 => {
                let Some(asked) = worker.to_worker.pop_front() else { return };
                let given: Vec<u64> = asked.into_iter().filter(|task| worker.waiting.contains(task)).collect();
                worker.waiting.retain(|task| !given.contains(task));
                worker.to_owner.push_back(Word::GivenBack(at, given));
            }
            _ => match worker.to_owner.pop_front() {
                Some(Word::Done(task, took)) => {
                    let (id, millis) = (Job(task, true).id(), Millis(now));
                    let done = self.core.on_done(millis, lease(at), id, took * 1_000 + 100, effects);
                    assert_eq!(done.map(|done| done.number), Some(task), "what has ended was under way");
                    assert!(self.done.insert(task), "done once");
                }
                Some(Word::GivenBack(at, tasks)) => {
                    self.taken_back += tasks.len();
                    let ids: Vec<TaskId> = tasks.iter().map(|task| Job(*task, true).id()).collect();
                    self.core.on_given_back(Millis(now), lease(at), &ids, effects);
                }
                None => {}
            },
        }
    }

    fn step(&mut self, calm: bool) {
        let mut effects = Vec::new();
        let choice = self.below(if calm { 10 } else { 12 });
        let some = self.one_of_the_workers();
        match (choice, some) {
            (0, _) if !calm => (0..self.below(6)).for_each(|_| self.submit(&mut effects)),
            (1, _) if self.want as usize > self.workers.len() && self.workers.len() < 5 => {
                self.next_worker += 1;
                let number = self.next_worker;
                self.workers.insert(number, Worker::default());
                self.core.on_granted(Millis(self.now), self.class, lease(number), worker(number as u32), &mut effects);
            }
            (2, _) => {
                self.now += 1;
                self.core.on_time(Millis(self.now), &mut effects);
            }
            (10, Some(at)) if self.below(6) == 0 => self.core.on_recalled(lease(at), &mut effects),
            (11, Some(at)) if self.below(20) == 0 => {
                self.workers.remove(&at);
                self.core.on_gone(worker(at as u32), &mut effects);
            }
            (_, Some(at)) => self.work(at, &mut effects),
            _ => {}
        }
        self.core.sanity_check();
        self.carry_out(effects);
    }
}

#[test]
fn each_task_runs_exactly_once_or_is_lost_with_its_worker() {
    let mut taken_back = 0;
    for seed in 0..60 {
        let mut world = World::new(seed);
        (0..2_000).for_each(|_| world.step(false));
        let all = world.rights.borrow().len();
        let mut steps = 0;
        while world.done.len() + world.lost.len() < all {
            world.step(true);
            steps += 1;
            assert!(steps < 2_000_000, "seed {seed}: it does not end");
        }
        for task in 0..all as u64 {
            let ran = world.ran.get(&task).copied().unwrap_or(0);
            let expected = if world.lost.contains(&task) { 0..=1 } else { 1..=1 };
            assert!(expected.contains(&ran), "seed {seed}: task {task} ran {ran} times");
        }
        taken_back += world.taken_back;
    }
    assert!(taken_back > 100, "the worlds are such that tasks are taken back: {taken_back}");
}
