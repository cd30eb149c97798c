//! Tests of encryption: who is let in, and what those are told who are not.

use std::{
    net::{SocketAddr, UdpSocket},
    os::unix::fs::MetadataExt,
};

use actinic_gcs::replica::Bootstrap;
use rcgen::CertificateParams;

use self::pki::{Issued, Pki};
use super::{
    intruders::{refusal_of, told},
    *,
};
use crate::gcs_net::{
    ask_admin, ask_identity,
    tls::{Fingerprint, Identity, JoinToken, Tls, TlsFiles, TlsTrouble, TokenError},
    AdminAsk,
};

#[path = "../../../../tests/support/pki.rs"]
mod pki;

/// How long a clear answer may take.
const SECONDS: Duration = Duration::from_secs(5);

fn encrypted(identity: Identity) -> Membership {
    membership().with_tls(Tls::of_identity(identity).unwrap())
}

fn alone(membership: Membership) -> Cluster {
    Cluster::start_as(membership, "127.0.0.1:0", 1, 1, NetLimits::default())
}

/// A caller of the test's cluster, with the secret, that takes this certificate.
fn caller(fingerprint: Fingerprint) -> Membership {
    let token = JoinToken { secret: "open sesame".to_owned(), fingerprint: Some(fingerprint) };
    Membership::new(7, Some(token.to_string())).unwrap()
}

/// Why `membership` does not come in; told within seconds, by every way to call.
fn trouble_of(address: SocketAddr, membership: &Membership) -> NetError {
    let since = Instant::now();
    let asked = ask_admin(&address.to_string(), membership, &AdminAsk::Status).unwrap_err();
    let connected = RemoteGcs::connect(membership, vec![vec![address.to_string()]]).unwrap_err();
    assert!(since.elapsed() < SECONDS, "it took {:?}", since.elapsed());
    assert_eq!(connected.to_string(), asked.to_string());
    connected
}

#[test]
fn replicas_and_clients_speak_encrypted() {
    let identity = Identity::make().unwrap();
    let fingerprint = identity.fingerprint();
    let mut cluster = Cluster::start_as(encrypted(identity), "127.0.0.1:0", 3, 1, NetLimits::default());
    let addresses: Vec<String> = cluster.addresses.iter().map(ToString::to_string).collect();
    let client = RemoteGcs::connect(&caller(fingerprint), vec![addresses]).unwrap();
    let large = "x".repeat(900_000);
    client.write(put("a", "1")).unwrap();
    client.write(put("large", &large)).unwrap();
    assert_eq!(value(&client, "large"), Some(Bytes::from(large)));
    let leader = cluster.leader();
    drop(cluster.servers[leader].take());
    client.write(put("a", "2")).unwrap();
    assert_eq!(value(&client, "a"), Some(Bytes::from_static(b"2")), "another leader is found and served by");
}

#[test]
fn a_caller_that_is_not_encrypted_is_told_so_on_both_sides() {
    let cluster = alone(encrypted(Identity::make().unwrap()));
    let refusal = refusal_of(&cluster, &membership());
    assert_eq!(refusal, Refusal::Plaintext);
    assert!(refusal.to_string().contains("actinic token"), "{refusal}");
    told(&cluster, "speaks TLS and the caller does not");
}

#[test]
fn another_certificate_than_the_tokens_is_not_taken() {
    let cluster = alone(encrypted(Identity::make().unwrap()));
    let other = Identity::make().unwrap().fingerprint();
    let trouble = trouble_of(cluster.addresses[0], &caller(other));
    assert!(matches!(trouble, NetError::Tls { source: TlsTrouble::Fingerprint, .. }), "{trouble}");
    told(&cluster, "TLS with it failed");
}

#[test]
fn a_certificate_that_has_expired_is_not_taken() {
    let past = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let identity = Identity::make_with(past).unwrap();
    let fingerprint = identity.fingerprint();
    let cluster = alone(encrypted(identity));
    let trouble = trouble_of(cluster.addresses[0], &caller(fingerprint));
    assert!(matches!(trouble, NetError::Tls { source: TlsTrouble::Dates, .. }), "{trouble}");
}

#[test]
fn a_listener_that_is_not_encrypted_is_named_to_those_who_demand_it() {
    let cluster = alone(membership());
    let trouble = trouble_of(cluster.addresses[0], &caller(Identity::make().unwrap().fingerprint()));
    assert!(matches!(trouble, NetError::Tls { source: TlsTrouble::Plaintext, .. }), "{trouble}");
    told(&cluster, "calls in TLS");
}

#[test]
fn the_certificate_is_handed_to_those_who_have_the_secret() {
    let identity = Identity::make().unwrap();
    let cluster = alone(encrypted(identity.clone()));
    let address = cluster.addresses[0].to_string();
    assert_eq!(ask_identity(&address, &caller(identity.fingerprint())).unwrap(), identity);
    let mut stranger = caller(identity.fingerprint());
    stranger.token = Membership::new(7, Some("open barley".to_owned())).unwrap().token;
    let refused = ask_identity(&address, &stranger).unwrap_err();
    assert!(matches!(refused, NetError::Refused { refusal: Refusal::Token, .. }), "{refused}");
    let plain = alone(membership());
    let refused = ask_identity(&plain.addresses[0].to_string(), &membership()).unwrap_err();
    assert!(matches!(refused, NetError::Refused { refusal: Refusal::NoIdentity, .. }), "{refused}");
}

fn files(Issued { ca, cert, key }: Issued) -> TlsFiles {
    TlsFiles { ca, cert, key }
}

fn by_files(issued: Issued) -> Membership {
    let files = &files(issued);
    Membership::new(7, None).unwrap().with_tls(Tls::of_files(files).unwrap())
}

#[test]
fn certificates_of_a_pki_do_without_a_token() {
    let pki = Pki::new();
    let cluster = alone(by_files(pki.issue("node", "127.0.0.1", |_| {})));
    let address = cluster.addresses[0];
    let of_client = by_files(pki.issue("client", "client.example", |_| {}));
    let client = RemoteGcs::connect(&of_client, vec![vec![address.to_string()]]).unwrap();
    client.write(put("a", "1")).unwrap();
    let refused = ask_identity(&address.to_string(), &of_client).unwrap_err();
    assert!(matches!(refused, NetError::Refused { refusal: Refusal::NoIdentity, .. }), "{refused}");
    // By the same name, a stranger's CA.
    let strange = Pki::new();
    let issue = || strange.issue("client", "client.example", |_| {});
    let trouble = trouble_of(address, &by_files(issue()));
    assert!(matches!(trouble, NetError::Tls { source: TlsTrouble::Issuer, .. }), "{trouble}");
    // One who trusts the listener, and has a certificate of another CA.
    let of_stranger = Issued { ca: pki.at("ca.pem"), ..issue() };
    let trouble = trouble_of(address, &by_files(of_stranger));
    assert!(matches!(trouble, NetError::Tls { source: TlsTrouble::Refused(_), .. }), "{trouble}");
    let expired = pki.issue("old", "client.example", |params| params.not_after = rcgen::date_time_ymd(2001, 1, 1));
    let trouble = trouble_of(address, &by_files(expired));
    assert!(matches!(trouble, NetError::Tls { source: TlsTrouble::Refused(_), .. }), "{trouble}");
}

#[test]
fn a_certificate_for_another_host_is_not_taken() {
    let pki = Pki::new();
    let cluster = alone(by_files(pki.issue("node", "10.9.8.7", |_| {})));
    let trouble = trouble_of(cluster.addresses[0], &by_files(pki.issue("client", "client.example", |_| {})));
    assert!(matches!(trouble, NetError::Tls { source: TlsTrouble::Name, .. }), "{trouble}");
}

#[test]
fn a_file_that_is_no_certificate_is_named() {
    let pki = Pki::new();
    let mut files = files(pki.issue("node", "127.0.0.1", |_| {}));
    files.cert = pki.at("absent.pem");
    let refused = Tls::of_files(&files).unwrap_err().to_string();
    assert!(refused.contains("absent.pem"), "{refused}");
    std::fs::write(&files.cert, "no certificate").unwrap();
    let refused = Tls::of_files(&files).unwrap_err().to_string();
    assert!(refused.contains("absent.pem") && refused.contains("no certificate in it"), "{refused}");
}

/// An address of this machine that others can reach, if it has one. No packet is sent to find out.
fn beyond_loopback() -> Option<SocketAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let mut address = socket.local_addr().ok().filter(|address| !address.ip().is_loopback())?;
    address.set_port(0);
    TcpListener::bind(address).is_ok().then_some(address)
}

#[test]
fn beyond_loopback_all_is_encrypted_or_nothing_is_said() {
    let Some(at) = beyond_loopback() else {
        return println!("skipped: this machine has no address beyond loopback");
    };
    let identity = Identity::make().unwrap();
    let cluster = Cluster::start_as(encrypted(identity.clone()), &at.to_string(), 1, 1, NetLimits::default());
    cluster.client().write(put("a", "1")).unwrap();
    let mut config = cluster.config(0, Bootstrap::Found(cluster.members()));
    (config.listen, config.membership) = (at, membership());
    let refused = GcsServer::start(config.clone()).unwrap_err();
    assert!(matches!(refused, ServerError::Unencrypted(_)), "{refused}");
    config.membership = caller(identity.fingerprint());
    let refused = GcsServer::start(config).unwrap_err();
    assert!(matches!(refused, ServerError::NoCertificate(_)), "{refused}");
    // A caller that would have to show its token to whoever is on the way.
    let listener = TcpListener::bind(at).unwrap();
    let trouble = ask_admin(&listener.local_addr().unwrap().to_string(), &membership(), &AdminAsk::Status).unwrap_err();
    assert!(matches!(trouble, NetError::Unencrypted { .. }), "{trouble}");
    let mut said = Vec::new();
    listener.accept().unwrap().0.read_to_end(&mut said).unwrap();
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn a_join_token_is_read_as_it_is_written_and_one_cut_short_is_refused() {
    let fingerprint = Identity::make().unwrap().fingerprint();
    for secret in ["a", "open sesame", "with.sha256-inside"] {
        let token = JoinToken { secret: secret.to_owned(), fingerprint: Some(fingerprint) };
        assert_eq!(token.to_string().parse::<JoinToken>().unwrap(), token);
    }
    let plain: JoinToken = "open sesame".parse().unwrap();
    assert_eq!((plain.secret.as_str(), plain.fingerprint), ("open sesame", None));
    assert!(!format!("{plain:?}").contains("sesame"));
    let whole = format!("secret.sha256-{fingerprint}");
    for cut in "secret.sha256-".len()..whole.len() {
        assert!(matches!(whole[..cut].parse::<JoinToken>(), Err(TokenError::Fingerprint)), "{}", &whole[..cut]);
    }
    assert!(matches!("".parse::<JoinToken>(), Err(TokenError::Empty)));
    assert!(matches!(whole[6..].parse::<JoinToken>(), Err(TokenError::Empty)));
}

#[test]
fn the_file_of_a_certificate_is_its_users_alone_and_outlives_its_maker() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new").join("identity.pem");
    let made = Identity::at(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(Identity::at(&path).unwrap(), made);
    assert!(!format!("{made:?}").contains("PRIVATE"));
    std::fs::write(&path, "nonsense").unwrap();
    assert!(Identity::at(&path).is_err(), "what is there is not written over");
}
