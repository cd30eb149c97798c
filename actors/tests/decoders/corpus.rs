//! Valid bytes of each kind: where random changes begin.
//!
//! Owns: samples that say something, and those of what does not make its own. Does not own samples of all variants, which
//! make themselves ([`super::targets::variants`]).

use std::{collections::BTreeMap, sync::Arc};

use actinic_actors::{
    cluster::{
        folder::NodeCard,
        node::NodeSettings,
        objects::wire::{Loan, ObjectAsk, ObjectFrame, ObjectNews, Place, StoredId},
        wire::*,
        work::Work,
        workers::Role,
    },
    data::{codec, Bytes as DataBytes, Tensor},
    error::{TaskError, TaskErrorKind},
    gcs_client::messages::{AnswerFrame, Frame},
    gcs_net::{
        tls::{Identity, JoinToken},
        wire::{preamble, Membership, Purpose, Refusal, Verdict, PROTOCOL_VERSION},
        AdminAnswer, AdminAsk,
    },
    options::{OverflowPolicy, SchedulingStrategy},
};
use actinic_gcs::{
    record,
    replica::{MembershipChange, ReplicaId},
    shard::{ClientId, Request, RequestId, SubscriptionId},
    spec::{NodeInfo, NodeSpec, NodeState, TaskSpec},
    tables::{KeyValueRead, KeyValueWrite, NodeWrite, PageRequest, Read, Reply, TaskWrite, Write},
    ActorId, FunctionId, JobId, Millis, NodeId, ObjectId, ResourceSet, TaskId, WorkerId,
};
use bytes::Bytes;
use serde::Serialize;

use super::targets::{targets, Reference, Structured, Target};

/// Samples, by target.
pub(crate) fn corpus() -> BTreeMap<String, Vec<Vec<u8>>> {
    let made = |target: &Target| (target.name.clone(), (target.samples)());
    let mut all: BTreeMap<String, Vec<Vec<u8>>> = targets().iter().map(made).collect();
    let mut add = |name: &'static str, sample: Vec<u8>| all.entry(name.to_owned()).or_default().push(sample);
    gcs_net(&mut add);
    cluster(&mut add);
    values(&mut add);
    files(&mut add);
    all
}

type Add<'a> = &'a mut dyn FnMut(&'static str, Vec<u8>);

fn packed(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec(value).expect("samples can be written")
}

fn node() -> NodeSpec {
    NodeSpec {
        id: NodeId(7),
        address: "127.0.0.1:1".to_owned(),
        hostname: "here".to_owned(),
        head: true,
        resources: ResourceSet::new().with("CPU", 2.0).with("tpu", 0.5),
        labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
        object_store_bytes: 1 << 30,
        shared_memory: None,
    }
}

fn task() -> TaskSpec {
    TaskSpec {
        id: TaskId::driver(JobId(1)),
        parent: TaskId::driver(JobId(1)),
        job: JobId(1),
        function: FunctionId(3),
        name: "square".into(),
        args: [actinic_gcs::spec::TaskArg::Inline(Bytes::from_static(b"argument"))].into_iter().collect(),
        num_returns: 1,
        demand: Arc::new(ResourceSet::new().with("CPU", 1.0)),
        max_retries: actinic_gcs::spec::Limit::AtMost(3),
        retry_exceptions: false,
        scheduling: actinic_gcs::spec::SchedulingStrategy::default(),
        kind: actinic_gcs::spec::TaskKind::Plain,
    }
}

fn gcs_net(add: Add<'_>) {
    let membership = Membership::new(7, Some("open sesame".to_owned())).expect("it is a token");
    for purpose in [
        Purpose::Peer { shard: 0, from: ReplicaId(1), to: ReplicaId(2), address: Some("a:1".to_owned()) },
        Purpose::Client { shard: 3, client: ClientId(9) },
        Purpose::Admin,
        Purpose::Identity,
        Purpose::Process {
            from: (NodeId(1), WorkerId(2)),
            to: (NodeId(3), WorkerId(4)),
            call: 5,
            given_up: vec![(NodeId(1), WorkerId(2), 4)],
        },
        Purpose::Node(Box::new(node())),
    ] {
        let hello = packed(&membership.hello(purpose));
        let mut stream = preamble(PROTOCOL_VERSION).to_vec();
        stream.extend(u32::try_from(hello.len()).expect("it is short").to_le_bytes());
        stream.extend(&hello);
        add("stream", stream);
        add("hello", hello);
    }
    add("verdict", packed(&Verdict::Accepted { addresses: vec!["a:1".to_owned(), "b:2".to_owned()] }));
    add("verdict", packed(&Verdict::Refused(Refusal::Cluster { asked: 1, here: 2 })));
    add("admin_ask", packed(&AdminAsk::Transfer { shard: 1, to: Some(ReplicaId(2)) }));
    let change = MembershipChange::AddVoter(ReplicaId(2), "a:1".to_owned());
    add("admin_ask", packed(&AdminAsk::Change { shard: 0, change }));
    add("admin_answer", packed(&AdminAnswer::Refused("no".to_owned())));
    let (namespace, key) = ("default".into(), Bytes::from_static(b"key"));
    let put = KeyValueWrite::Put { namespace, key, value: Bytes::from_static(b"value"), overwrite: true };
    let list = KeyValueRead::List { namespace: "default".into(), prefix: Bytes::new(), page: PageRequest::default() };
    let writes: Vec<Write> = vec![
        put.into(),
        NodeWrite::Register { node: Box::new(node()), lease_ms: 5 }.into(),
        TaskWrite::Put(vec![Arc::new(task())]).into(),
    ];
    for write in writes {
        add("write_record", record::encode(&write).expect("samples can be written").to_vec());
        add("frame", packed(&Frame::Request { request: RequestId(1), what: Arc::new(Request::Write(write)) }));
    }
    let list = Arc::new(Request::Read(Read::from(list)));
    add("frame", packed(&Frame::StaleRead { request: RequestId(2), what: list }));
    add("frame", packed(&Frame::Unsubscribe(SubscriptionId(4))));
    let info = NodeInfo { spec: node(), registered_at: Millis(5), state: NodeState::Alive };
    add("node_record", record::encode(&info).expect("samples can be written").to_vec());
    add("task_spec_record", record::encode(&task()).expect("samples can be written").to_vec());
    for reply in
        [Reply::Stored(true), Reply::Value(Some(Bytes::from_static(b"v"))), Reply::Node(Some(Box::new(info.clone())))]
    {
        add("reply", packed(&reply));
        add("answer_frame", packed(&AnswerFrame::Reply { request: RequestId(1), outcome: Ok(reply) }));
    }
    add("answer_frame", packed(&AnswerFrame::NotLeader { leader: Some("a:1".to_owned()) }));
    let info = record::encode(&info).expect("samples can be written");
    add("update", [&[0][..], &info].concat());
    add("update", b"\x06a user's value".to_vec());
}

fn process() -> ProcessId {
    ProcessId { node: NodeId(7), worker: WorkerId(3) }
}

fn code() -> JobCode {
    JobCode {
        job: JobId(1),
        exe: ExeHash([5; 32]),
        exe_bytes: 100,
        namespace: "default".to_owned(),
        driver: process(),
        cwd: "/".to_owned(),
        env: vec![("KEY".to_owned(), "value".to_owned())],
        functions: 3,
    }
}

fn value() -> WireValue {
    let id = ObjectId { task: TaskId::driver(JobId(1)), index: 0 };
    WireValue {
        meta: Bytes::from_static(b"meta"),
        buffers: vec![Bytes::from_static(b"bulk"), Bytes::new()],
        refs: vec![WireRef { id, owner: process() }],
        actors: vec![(1, actor())],
        away: None,
    }
}

fn actor() -> WireActor {
    WireActor {
        id: ActorId(5),
        type_name: "Counter".to_owned(),
        label: "hits".to_owned(),
        detached: true,
        max_pending_calls: 10,
        overflow: OverflowPolicy::default(),
        max_task_retries: 3,
    }
}

fn cluster(add: Add<'_>) {
    let (lease, class) = (LeaseId { node: NodeId(7), number: 1 }, ClassId(2));
    let spec = ClassSpec {
        demand: ResourceSet::new().with("CPU", 1.0),
        strategy: SchedulingStrategy::Spread,
        near: Some(NodeId(7)),
        ..ClassSpec::default()
    };
    let driver = Caller::Driver {
        pid: 1,
        exe: "/bin/true".to_owned(),
        namespace: "default".to_owned(),
        entrypoint: "true".to_owned(),
        cwd: "/".to_owned(),
        env: code().env,
        functions: 3,
    };
    for caller in [driver, Caller::Worker { worker: WorkerId(3) }, Caller::Process(process()), Caller::Status] {
        add("greeting", packed(&Greeting { version: PROTOCOL_VERSION, caller }));
    }
    add(
        "to_node",
        packed(&ToNode::Demand(Demand {
            class,
            spec: spec.clone(),
            want: 3,
            elsewhere: 1,
            work: Work::default(),
            revision: 4,
        })),
    );
    add("to_node", packed(&ToNode::Relay { to: process(), body: Bytes::from_static(b"frames") }));
    let welcome = Welcome {
        process: process(),
        code: code(),
        listen: "/run/p3.sock".to_owned(),
        cluster: 7,
        token: Some("open sesame".to_owned()),
        tls_files: None,
        gcs: vec![vec!["a:1".to_owned()], vec!["b:2".to_owned()]],
        head: NodeId(7),
        identity: Some("a certificate".to_owned()),
        host: Some("127.0.0.1".to_owned()),
    };
    let from_node = [
        FromNode::Welcome(Box::new(welcome)),
        FromNode::Granted {
            class,
            lease,
            worker: process(),
            doors: Doors { socket: Some("/run/p3.sock".to_owned()), address: Some("127.0.0.1:7".to_owned()) },
            gpus: vec![0, 1],
        },
        FromNode::Status(Box::new(ClusterStatus { waiting: vec!["a task".to_owned()], ..ClusterStatus::default() })),
        FromNode::Output(Box::new(WorkerOutput {
            worker: process(),
            name: Some("counter".to_owned()),
            stderr: false,
            text: "a line".to_owned(),
        })),
    ];
    for frame in from_node {
        add("from_node", packed(&frame));
        add("node_frame", packed(&NodeFrame::ForProcess { to: process(), frame: Box::new(frame) }));
    }
    let (actor, reason) = (ActorId(5), "it ended".to_owned());
    for word in [
        ActorWord::Construct { actor, args: vec![WireArg::Value(value())] },
        ActorWord::Watch(actor),
        ActorWord::End { actor, reason: reason.clone(), drain: true },
        ActorWord::Up(actor, lease),
        ActorWord::Checkpoint { actor, lease, calls: 7, state: Bytes::from_static(b"state") },
    ] {
        add("to_node", packed(&ToNode::Actor { keeper: NodeId(7), word: word.clone() }));
        add("node_frame", packed(&NodeFrame::Actor { from: process(), code: Some(Box::new(code())), word }));
    }
    add("from_node", packed(&FromNode::Actor { actor, place: ActorWhere::Away { reason } }));
    add(
        "data_frame",
        packed(&DataFrame::Answer { actor, task: TaskId::driver(JobId(1)), outcomes: vec![Ok(value())] }),
    );
    let (owner, revision) = (process(), 4);
    let spilled = Box::new(Spilled { owner, code: code(), class, spec, want: 2, work: Work::default(), revision });
    add("node_frame", packed(&NodeFrame::Spilled(spilled)));
    add("node_frame", packed(&NodeFrame::Hello(Box::new(node()))));
    let (stored, loan) = (StoredId { node: NodeId(7), serial: 3 }, Loan { to: NodeId(8), number: 4 });
    let place = Place { segment: "actinic-1-2".to_owned(), offset: 64, guests: Some("/run/guests-1".to_owned()) };
    let (from, number) = (loan.to, loan.number);
    for frame in [
        ObjectFrame::Source { stored, from: Ok(from) },
        ObjectFrame::Borrow { stored, loan },
        ObjectFrame::Lent { stored, from, number, place: Ok(place.clone()) },
        ObjectFrame::Return { stored, loan },
    ] {
        add("to_node", packed(&ToNode::Object(ObjectAsk::ForNode { node: from, frame: frame.clone() })));
        add("node_frame", packed(&NodeFrame::Object(frame)));
    }
    for news in [
        ObjectNews::Pinned { request: 1, place: Ok(place) },
        ObjectNews::Locate { stored, to: from, failed: None, near: vec![from] },
    ] {
        add("from_node", packed(&FromNode::Object(news)));
    }
    let bytes = Ok(Bytes::from_static(b"part"));
    add("node_frame", packed(&NodeFrame::ExePart { exe: ExeHash([1; 32]), offset: 8, bytes }));
    let task = RunTask {
        id: TaskId::driver(JobId(1)),
        parent: TaskId::driver(JobId(1)),
        function: FunctionId(3),
        num_returns: 1,
        args: vec![WireArg::Value(value())],
        gpus: vec![1],
    };
    add("data_frame", packed(&DataFrame::Run(lease, Box::new(task))));
    let lost = TaskErrorKind::Cancelled { task: "square".to_owned() };
    let outcomes = vec![Ok(value()), Err(TaskError::from(lost))];
    let id = TaskId::driver(JobId(1));
    add("data_frame", packed(&DataFrame::Done { lease, task: id, ran_us: 5, outcomes }));
    add("data_frame", packed(&DataFrame::Fetch(ObjectId { task: id, index: 0 })));
    // As dense as it gets: the most memory for each byte.
    let dense = WireValue { buffers: vec![Bytes::new(); 200_000], ..WireValue::default() };
    add("data_frame", packed(&DataFrame::Object { id: ObjectId { task: id, index: 1 }, outcome: Ok(dense) }));
}

fn length(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).expect("samples are short").to_le_bytes()
}

/// As [`super::targets::parts_of`] reads it.
fn written(value: &codec::Encoded) -> Vec<u8> {
    let mut bytes = vec![value.refs.len() as u8, value.buffers.len() as u8];
    value.buffers.iter().for_each(|buffer| bytes.extend(length(buffer)));
    value.buffers.iter().for_each(|buffer| bytes.extend_from_slice(buffer));
    bytes.extend(&value.meta);
    bytes
}

fn values(add: Add<'_>) {
    fn sample<T: Serialize + 'static>(value: &T) -> Vec<u8> {
        written(&codec::encode(value).expect("samples can be written"))
    }
    add("text", sample(&"text".to_owned()));
    add("numbers", sample(&vec![1.0_f64, -2.5, f64::NAN]));
    add("truths", sample(&vec![true, false]));
    add("tensor", sample(&Tensor::from_vec([2, 3], vec![1.0_f64; 6]).expect("it fits")));
    add("tensor_of_bytes", sample(&Tensor::from_vec([4, 5], vec![7_u8; 20]).expect("it fits")));
    add("bytes", sample(&DataBytes::from(vec![7; 30])));
    let inner = Structured { names: Vec::new(), tensors: BTreeMap::new(), bytes: None, refs: Vec::new(), nested: None };
    let tensor = Tensor::from_vec([1, 2], vec![1.0_f32; 2]).expect("it fits");
    let whole = Structured {
        names: vec!["a".to_owned(), "b".to_owned()],
        tensors: BTreeMap::from([(4, tensor)]),
        bytes: Some(DataBytes::from(vec![1, 2, 3])),
        refs: vec![Reference(Arc::new(0_u8)), Reference(Arc::new(1_u8))],
        nested: Some(Box::new(inner)),
    };
    add("structured", sample(&whole));
    let several = |all: &[Vec<u8>]| all.iter().flat_map(|one| [&length(one)[..], one].concat()).collect();
    add("several_structured", several(&[sample(&whole), sample(&whole)]));
    add("texts", several(&[sample(&"one".to_owned()), sample(&"x".repeat(100))]));
    add(
        "lists_of_numbers",
        several(&[sample(&vec![1.5_f64; 3]), sample(&vec![2.5_f64; 20]), sample(&Vec::<f64>::new())]),
    );
    #[cfg(feature = "arrow")]
    add("record_batch", sample(&record_batch()));
}

#[cfg(feature = "arrow")]
fn record_batch() -> actinic_actors::data::RecordBatch {
    let columns: [(&str, arrow::array::ArrayRef); 2] = [
        ("x", Arc::new(arrow::array::Float64Array::from(vec![Some(1.5), None]))),
        ("name", Arc::new(arrow::array::StringArray::from(vec!["a", "b"]))),
    ];
    arrow::array::RecordBatch::try_from_iter(columns).expect("columns are of one length").into()
}

fn files(add: Add<'_>) {
    let card = NodeCard {
        node: "7".to_owned(),
        pid: 1,
        address: "a:1".to_owned(),
        head: "a:1".to_owned(),
        cluster: "7".to_owned(),
        token: "open sesame".to_owned(),
        is_head: true,
        nodes: vec!["b:2".to_owned()],
    };
    add("node_card", serde_json::to_vec(&card).expect("samples can be written"));
    let settings = NodeSettings {
        join: Some("a:1".to_owned()),
        token: None,
        tls: Default::default(),
        listen: "127.0.0.1:0".parse().expect("it is an address"),
        advertise: None,
        resources: BTreeMap::from([("CPU".to_owned(), 1.0)]),
        labels: BTreeMap::new(),
        gcs_folder: None,
        gcs_replicas: 1,
        memory_threshold: 0.95,
        attached: true,
        apart: false,
    };
    for role in
        [Role::Node(Box::new(settings)), Role::Worker { socket: "/run/node.sock".to_owned(), worker: WorkerId(3) }]
    {
        add("role", serde_json::to_vec(&role).expect("samples can be written"));
    }
    let identity = Identity::make().expect("a certificate can be made");
    add("identity", identity.to_pem().as_bytes().to_vec());
    let token = JoinToken { secret: "secret".to_owned(), fingerprint: Some(identity.fingerprint()) };
    add("join_token", token.to_string().into_bytes());
    add("join_token", b"secret".to_vec());
    for text in ["a=a", "!a=b", "in(a, b)=b", "!in(a,b)=c"] {
        add("label_match", text.as_bytes().to_vec());
    }
}
