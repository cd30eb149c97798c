//! What cannot be started is refused soon, says what to do, and leaves nothing.

use std::net::TcpListener;

use super::*;

/// How long a clear answer may take, whatever the machine is busy with.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn who_may_not_join_or_reaches_nobody_is_told_why_and_leaves_nothing() {
    let (machine, other) = (Machine::new(), Machine::new());
    let head = machine.start("--head --num-cpus 1 --gcs-replicas 1 --tls");
    let token = machine.run("token").text.trim().to_owned();
    let join = |token: &str, address: &str| {
        let mut command = other.actinic(&format!("start --join {address} --num-cpus 1"));
        said_by({
            command.env("ACTINIC_TOKEN", token);
            command
        })
    };
    let wrong = token.replacen(&token[..8], "deadbeef", 1);
    join(&wrong, &head.address).refuses(SOON, &["token is missing or wrong"]);
    join(&token[..20], &head.address).refuses(SOON, &["give the whole join token"]);
    join("", &head.address).refuses(SOON, &["actinic: a node cannot start", "token"]);
    join(&token, "127.0.0.1:1").refuses(SOON, &["127.0.0.1:1", "refused"]);
    join(&token, "nothing").refuses(SOON, &["nothing is no node of a cluster"]);
    // It lets everybody in and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    join(&token, &address).refuses(SOON, &[&address, "said nothing"]);
    other.is_empty_soon(&BTreeSet::new());
    // Of several, any that answers will do.
    assert!(join(&token, &format!("127.0.0.1:1,{}", head.address)).succeeded);
    machine.run("status").tells(&[&head.name]);
}

#[test]
fn a_port_in_use_is_refused_and_so_is_what_leads_nowhere() {
    let machine = Machine::new();
    let head = machine.start("--head --num-cpus 1 --gcs-replicas 1");
    let before = machine.processes();
    machine.run(&format!("start --head --listen {}", head.address)).refuses(SOON, &["cannot listen on", &head.address]);
    let nowhere = machine.run(&format!("start --join {} --advertise 0.0.0.0:7000", head.address));
    nowhere.refuses(SOON, &["means any address", "--advertise HOST:PORT"]);
    // Nothing is asked of anybody before that is seen.
    let near = machine.run("start --join 10.255.255.1:7000 --listen 127.0.0.1:0");
    near.refuses(SOON, &["only this machine reaches it", "leave `--listen` out"]);
    assert_eq!(machine.processes(), before);
    said_by(machine.driver("sum", "127.0.0.1:1")).refuses(SOON, &["actinic start --join 127.0.0.1:1", &head.address]);
}

#[test]
fn options_that_make_no_sense_are_refused_by_name() {
    let machine = Machine::new();
    let refused = |words: &str, why: &str| machine.run(words).refuses(SOON, &[why]);
    refused("start", "--head");
    refused("start --head --join 127.0.0.1:1", "cannot be used with");
    refused("start --head --gcs-replicas 2", "give 1, 3, 5 or 7");
    refused("start --head --resource tpu", "has no '='");
    refused("start --head --resource tpu=many", "is not what tpu could be");
    refused("start --head --memory-threshold 2", "1 at most");
    refused("start --head --listen everywhere", "everywhere");
    refused("start --head --tls-ca ca.pem", "--tls-cert");
    refused("begin", "begin");
    machine.is_empty_soon(&BTreeSet::new());
}
