//! What an operator may ask.

use actinic_gcs::replica::MembershipChange;

use super::*;
use crate::gcs_net::{ask_admin, AdminAnswer, AdminAsk, ReplicaSummary};

fn status(address: SocketAddr) -> ReplicaSummary {
    match ask_admin(&address.to_string(), &membership(), &AdminAsk::Status) {
        Ok(AdminAnswer::Status(mut all)) => all.remove(0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_replica_joins_and_another_leaves_while_clients_write() {
    let mut cluster = Cluster::start(1, 1, NetLimits::default());
    let client = cluster.client();
    client.write(put("a", "1")).unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    cluster.addresses.push(socket.local_addr().unwrap());
    let joined = GcsServer::start_on(socket, cluster.config(1, Bootstrap::Join)).unwrap();
    cluster.servers.push(Some(joined));
    let (first, second) = (cluster.addresses[0], cluster.addresses[1]);
    for change in [
        MembershipChange::AddLearner(ReplicaId(2), second.to_string()),
        MembershipChange::AddVoter(ReplicaId(2), second.to_string()),
    ] {
        let ask = AdminAsk::Change { shard: 0, change };
        assert_eq!(ask_admin(&first.to_string(), &membership(), &ask).unwrap(), AdminAnswer::Done);
    }
    client.write(put("b", "2")).unwrap();
    eventually("the new replica has all", || status(second).applied == status(first).applied);
    assert_eq!(status(second).voters, [ReplicaId(1), ReplicaId(2)]);
    let transfer = AdminAsk::Transfer { shard: 0, to: Some(ReplicaId(2)) };
    assert_eq!(ask_admin(&first.to_string(), &membership(), &transfer).unwrap(), AdminAnswer::Done);
    eventually("the new replica leads", || status(second).leader == Some(ReplicaId(2)));
    client.write(put("b", "3")).unwrap();
    let removal = AdminAsk::Change { shard: 0, change: MembershipChange::Remove(ReplicaId(1)) };
    let asked = |address: SocketAddr| ask_admin(&address.to_string(), &membership(), &removal).unwrap();
    assert!(matches!(asked(first), AdminAnswer::Refused(_)), "who does not lead changes nothing");
    assert_eq!(asked(second), AdminAnswer::Done);
    drop(cluster.servers[0].take());
    assert_eq!(value(&client, "a"), Some(Bytes::from_static(b"1")));
    assert_eq!(value(&client, "b"), Some(Bytes::from_static(b"3")));
}
