//! scratch
use actinic::prelude::*;
use std::time::Instant;
#[remote]
fn nothing() {}
#[remote]
struct Sink { n: u64 }
#[remote]
impl Sink { fn new() -> Self { Self { n: 0 } } fn add(&mut self, by: u64) -> u64 { self.n += by; self.n } }
fn main() -> actinic::Result<()> {
    let rt = Runtime::builder().num_cpus(2.0).init()?;
    let mode = std::env::args().nth(1).unwrap_or_default();
    for _ in 0..6 {
        if mode.is_empty() || mode == "batch" {
        let n = 1_000_000;
        let t = Instant::now();
        let refs: Vec<_> = (0..n).map(|_| nothing.remote()).collect();
        let sub = t.elapsed();
        rt.get(&refs)?;
        let all = t.elapsed();
        drop(refs);
        println!("batch {:.2} M/s  submit {:.0} ns/task, total {:.0} ns, with drop {:.0}", n as f64 / all.as_secs_f64() / 1e6, sub.as_nanos() as f64 / n as f64, all.as_nanos() as f64 / n as f64, t.elapsed().as_nanos() as f64/n as f64);
        }
        if mode.is_empty() || mode == "one" {
        let t = Instant::now();
        for _ in 0..200_000 { rt.get(&nothing.remote())?; }
        println!("one {:.0} ns", t.elapsed().as_nanos() as f64 / 2e5);
        }
        if mode.is_empty() || mode == "actor" {
        let a = Sink::remote();
        rt.get(&a.add(1))?;
        let t = Instant::now();
        for _ in 0..1_000_000 { a.add(1); }
        let sub = t.elapsed();
        rt.get(&a.add(1))?;
        println!("tell {:.2} M/s (submit {:.0} ns)", 1e6 / t.elapsed().as_secs_f64() / 1e6, sub.as_nanos() as f64/1e6);
        let t = Instant::now();
        for _ in 0..200_000 { rt.get(&a.add(1))?; }
        println!("ask {:.0} ns", t.elapsed().as_nanos() as f64 / 2e5);
        }
        if mode.is_empty() || mode == "create" {
        let t = Instant::now();
        let v: Vec<_> = (0..20_000).map(|_| Sink::remote()).collect();
        let c = t.elapsed();
        let r: Vec<_> = v.iter().map(|a| a.add(1)).collect();
        rt.get(&r)?;
        println!("create {:.0}/s, answered {:.0}/s", 2e4 / c.as_secs_f64(), 2e4/t.elapsed().as_secs_f64());
        let t = Instant::now();
        drop(r); drop(v);
        while rt.actor_count() > 1 && t.elapsed().as_secs() < 5 { std::thread::yield_now(); }
        println!("ended in {:?} {}", t.elapsed(), rt.actor_count());
        }
    }
    Ok(())
}
