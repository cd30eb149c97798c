//! Tasks, objects and an actor: the README's first example.
//!
//! `cargo run --release --example quickstart`

use actinic::prelude::*;

#[remote]
fn zeros(n: usize) -> Tensor<f64> {
    Tensor::zeros([n, n])
}

#[remote]
fn dot(x: Tensor<f64>, y: Tensor<f64>) -> Tensor<f64> {
    x.dot(&y)
}

#[remote]
struct Counter {
    value: i64,
}

#[remote]
impl Counter {
    fn new(start: i64) -> Self {
        Self { value: start }
    }

    fn increment(&mut self, by: i64) -> i64 {
        self.value += by;
        self.value
    }

    async fn after(&self, wait: Duration) -> i64 {
        tokio::time::sleep(wait).await;
        self.value
    }
}

fn main() -> actinic::Result<()> {
    let rt = Runtime::init()?; // on the cluster at ACTINIC_ADDRESS if that is set, else embedded in this process

    let x = zeros.remote(1_000); // ObjectRef<Tensor<f64>>, at once
    let y = zeros.remote(1_000);
    let z = dot.remote(&x, &y); // values and references are both accepted, checked at compile time
    println!("{}", rt.get(&z)?);

    let (ready, pending) = rt.wait(&[x, y], 1, Duration::from_millis(10))?;
    println!("{} ready, {} pending", ready.len(), pending.len());

    let counter = Counter::options().name("hits").max_restarts(3).remote(10);
    let hits = counter.increment(1); // ObjectRef<i64>; calls from one caller run in order
    assert_eq!(rt.get(&hits)?, 11);
    println!("{}", rt.get(&counter.after(Duration::from_millis(5)))?);
    Ok(())
}
