//! An Actix-web server with the runtime inside: a handler awaits an actor's answer, and overload is refused politely.
//!
//! `POST /predict` with numbers such as `1.5 2 3` asks the model, an actor that takes one call at a time. At most eight
//! calls may wait for it; more get `503 Service Unavailable` with `Retry-After`, at once. At the end the server is
//! stopped gracefully: requests that it has accepted are answered before it goes.
//!
//! - `cargo run --release --example actix_web_service` drives itself with a small load, then shuts down;
//! - `cargo run --release --example actix_web_service -- --serve 8080` keeps running (Ctrl-C ends it): try
//!   `curl -d '1.5 2 3' http://127.0.0.1:8080/predict`.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
};

use actinic::{error::TaskErrorKind, prelude::*};
use actix_web::{http::header::RETRY_AFTER, rt::System, web, App, HttpResponse, HttpServer};

const WAITING_MAX: usize = 8;

/// A model that takes 20 ms a call.
#[remote]
struct Predictor {
    weights: Vec<f64>,
    answered: u64,
}

#[remote]
impl Predictor {
    fn new(weights: Vec<f64>) -> Self {
        Self { weights, answered: 0 }
    }

    fn predict(&mut self, features: Vec<f64>) -> Result<f64, String> {
        if features.len() != self.weights.len() {
            return Err(format!("{} numbers are needed, not {}", self.weights.len(), features.len()));
        }
        thread::sleep(Duration::from_millis(20));
        self.answered += 1;
        Ok(self.weights.iter().zip(&features).map(|(weight, feature)| weight * feature).sum())
    }

    fn answered(&self) -> u64 {
        self.answered
    }
}

/// The handler: an `ObjectRef` is awaited, no thread waits.
async fn predict(model: web::Data<PredictorHandle>, body: String) -> HttpResponse {
    let Ok(features) = body.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>() else {
        return HttpResponse::BadRequest().body("numbers, please\n");
    };
    match model.predict(features).await {
        Ok(value) => HttpResponse::Ok().body(format!("{value}\n")),
        Err(error) => match error.kind() {
            TaskErrorKind::PendingCallsLimitExceeded { .. } => {
                HttpResponse::ServiceUnavailable().insert_header((RETRY_AFTER, "1")).body("busy, try again\n")
            }
            TaskErrorKind::Failed { message, .. } => HttpResponse::UnprocessableEntity().body(format!("{message}\n")),
            _ => HttpResponse::InternalServerError().body(format!("{error}\n")),
        },
    }
}

/// One request over a connection of its own: the status, and whether the answer said when to try again.
fn request(server: SocketAddr, body: &str) -> std::io::Result<(u16, bool)> {
    let mut connection = TcpStream::connect(server)?;
    let length = body.len();
    write!(
        connection,
        "POST /predict HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("not an answer: {answer:?}")))?;
    Ok((status, answer.to_lowercase().contains("retry-after: 1")))
}

/// The statuses of `rounds` requests by each of `clients` at the same time.
fn load(server: SocketAddr, clients: usize, rounds: usize) -> std::io::Result<BTreeMap<u16, u64>> {
    let client = move || (0..rounds).map(|_| request(server, "1 2 3")).collect::<std::io::Result<Vec<_>>>();
    let clients: Vec<_> = (0..clients).map(|_| thread::spawn(client)).collect();
    let mut counts = BTreeMap::new();
    for client in clients {
        for (status, retry) in client.join().expect("a client does not panic")? {
            assert_eq!(retry, status == 503, "503, and nothing else, says when to try again");
            *counts.entry(status).or_default() += 1;
        }
    }
    Ok(counts)
}

fn show(what: &str, counts: &BTreeMap<u16, u64>) {
    let counts: Vec<_> = counts.iter().map(|(status, count)| format!("{count} × {status}")).collect();
    println!("{what:<32} {}", counts.join(", "));
}

/// The load, and the stop in the midst of it. Gives how many requests were answered with 200.
fn drive(server: SocketAddr, stop: impl FnOnce()) -> std::io::Result<u64> {
    let calm = load(server, 4, 10)?;
    show("4 clients at a time", &calm);
    let rush = load(server, 32, 5)?;
    show("32 clients at a time", &rush);
    let (wrong, _) = request(server, "1 2")?;
    println!("{:<32} {wrong}", "too few numbers");

    let last = thread::spawn(move || load(server, 6, 1));
    thread::sleep(Duration::from_millis(30)); // they are accepted, and most still wait for the model
    stop();
    let last = last.join().expect("the load does not panic")?;
    show("6 accepted before the stop", &last);

    let of = |counts: &BTreeMap<u16, u64>, status| counts.get(&status).copied().unwrap_or(0);
    assert_eq!((of(&calm, 200), wrong, of(&last, 200)), (40, 422, 6));
    assert!(of(&rush, 200) > 0 && of(&rush, 503) > 0, "the rush should be answered in part");
    Ok(of(&calm, 200) + of(&rush, 200) + of(&last, 200))
}

fn main() -> actinic::Result<()> {
    let serve: Option<u16> = match std::env::args().nth(1).as_deref() {
        Some("--serve") => Some(std::env::args().nth(2).and_then(|port| port.parse().ok()).unwrap_or(8080)),
        _ => None,
    };
    let rt = Runtime::init()?;
    let model = Predictor::options().max_pending_calls(WAITING_MAX).remote(vec![0.5, -1.0, 2.0]);
    let shared = model.clone();

    let answered = System::new().block_on(async move {
        let server = HttpServer::new(move || {
            App::new().app_data(web::Data::new(shared.clone())).route("/predict", web::post().to(predict))
        });
        let server = server.workers(2).shutdown_timeout(10).bind(("127.0.0.1", serve.unwrap_or(0)))?;
        let address = server.addrs()[0];
        println!("listening on http://{address}/predict");
        if serve.is_some() {
            server.run().await?;
            return Ok(0);
        }
        let server = server.disable_signals().run();
        let handle = server.handle();
        let driver = thread::spawn(move || {
            drive(address, move || {
                drop(handle.stop(true)); // sent at once; the answers come first
            })
        });
        server.await?;
        driver.join().expect("the driver does not panic")
    })?;

    println!("the server has stopped; the model answered {}", rt.get(&model.answered())?);
    assert!(serve.is_some() || rt.get(&model.answered())? == answered);
    Ok(())
}
