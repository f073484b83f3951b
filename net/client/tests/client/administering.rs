//! Administration: requests, answers, and answers that were lost.

use hulse_client::{AckLevel, ClientError, Policy, PolicyChange, SeekTo, Status, TopicSpec};
use hulse_wire::{Admin, AdminDone, ErrorReply, Reply, Request, Tenancy};

use crate::broker::{Broker, within};

const DESCRIPTION: &[u8] = br#"{"name":"persistent://public/default/t","replicas":1,"new":[1]}"#;

#[tokio::test]
async fn a_topic_is_created_with_what_was_asked_for() {
    let broker = Broker::start().await;
    let (client, mut peer) = broker.connected(broker.client()).await;
    let spec = TopicSpec {
        partitions: 4,
        ack: AckLevel::Memory,
        regions: vec!["a".to_owned(), "b".to_owned()],
        ..TopicSpec::default()
    };
    let answering = async {
        let frame = peer.next().await;
        let Request::Admin(Admin::CreateTopic(create)) = frame.request() else {
            panic!("{:?}", frame.request())
        };
        assert_eq!(
            (create.partitions, create.replicas, create.min_isr),
            (4, 0, 0)
        );
        assert_eq!(
            (create.ack, &create.regions[..]),
            (AckLevel::Memory, &["a", "b"][..])
        );
        let done = Reply::AdminDone(AdminDone { json: DESCRIPTION });
        peer.reply(0, frame.correlation, &done).await;
    };
    let admin = client.admin();
    let (created, ()) =
        within(async { tokio::join!(admin.create_topic("t", &spec), answering) }).await;
    assert_eq!(created.unwrap().name, "persistent://public/default/t");
}

#[tokio::test]
async fn a_refusal_for_good_is_told_at_once_and_a_passing_one_is_tried_again() {
    let broker = Broker::start().await;
    let (client, mut peer) = broker.connected(broker.client()).await;
    let answering = async {
        let frame = peer.next().await;
        peer.refuse(&frame, ErrorReply::new(Status::NotReady, "starting"))
            .await;
        let frame = peer.next().await;
        peer.refuse(
            &frame,
            ErrorReply::new(Status::TopicNotFound, "no such topic"),
        )
        .await;
    };
    let admin = client.admin();
    let (described, ()) =
        within(async { tokio::join!(admin.describe_topic("t"), answering) }).await;
    assert_eq!(
        described.unwrap_err().to_string(),
        "TOPIC_NOT_FOUND: no such topic"
    );
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_corrupt() {
    let broker = Broker::start().await;
    let (client, mut peer) = broker.connected(broker.client()).await;
    let answering = async {
        let frame = peer.next().await;
        let done = Reply::AdminDone(AdminDone { json: b"{nonsense" });
        peer.reply(0, frame.correlation, &done).await;
    };
    let admin = client.admin();
    let (status, ()) = within(async { tokio::join!(admin.status(), answering) }).await;
    assert!(matches!(status.unwrap_err(), ClientError::Corrupt { .. }));
}

#[tokio::test]
async fn a_creation_and_a_deletion_whose_answers_were_lost_are_recognised() {
    let broker = Broker::start().await;
    let (client, mut peer) = broker.connected(broker.client()).await;
    let admin = client.admin();
    let answering = async {
        peer.next().await;
        drop(peer);
        let mut peer = broker.welcome().await;
        let again = peer.next().await;
        peer.refuse(&again, ErrorReply::new(Status::TopicExists, "there is one"))
            .await;
        let describe = peer.next().await;
        assert!(matches!(
            describe.request(),
            Request::Admin(Admin::DescribeTopic { .. })
        ));
        let done = Reply::AdminDone(AdminDone { json: DESCRIPTION });
        peer.reply(0, describe.correlation, &done).await;
        peer
    };
    let spec = TopicSpec::default();
    let (created, mut peer) =
        within(async { tokio::join!(admin.create_topic("t", &spec), answering) }).await;
    assert_eq!(created.unwrap().replicas, 1);

    let answering = async {
        peer.next().await;
        drop(peer);
        let mut peer = broker.welcome().await;
        let again = peer.next().await;
        peer.refuse(&again, ErrorReply::new(Status::TopicNotFound, "gone"))
            .await;
    };
    let (deleted, ()) = within(async { tokio::join!(admin.delete_topic("t"), answering) }).await;
    deleted.unwrap();
}

#[tokio::test]
async fn a_subscription_is_moved_at_the_owner_of_each_partition() {
    let (broker, owner) = (Broker::start().await, Broker::start().await);
    let (client, mut peer) = broker.connected(broker.client()).await;
    let answering = async {
        peer.locate(&[&broker.address, &owner.address]).await;
        let first = peer.next().await;
        let Request::Seek(seek) = first.request() else {
            panic!("{:?}", first.request())
        };
        let named = seek.subscription.unwrap();
        assert_eq!(
            (first.stream, named.partition, named.subscription.as_str()),
            (0, 0, "s")
        );
        assert_eq!(seek.to, hulse_wire::SeekTo::Time(99));
        peer.reply(0, first.correlation, &Reply::Done).await;
        let mut other = owner.welcome().await;
        let second = other.next().await;
        assert!(matches!(second.request(), Request::Seek(_)));
        other.reply(0, second.correlation, &Reply::Done).await;
    };
    let admin = client.admin();
    let seeking = admin.seek_subscription("t", "s", SeekTo::Time(99));
    let (sought, ()) = within(async { tokio::join!(seeking, answering) }).await;
    sought.unwrap();
}

#[tokio::test]
async fn names_are_checked_before_anything_is_sent() {
    let broker = Broker::start().await;
    let (client, mut peer) = broker.connected(broker.client()).await;
    let admin = client.admin();
    let error = within(admin.describe_topic("a b")).await.unwrap_err();
    assert!(
        matches!(error, ClientError::InvalidName { what: "topic", .. }),
        "{error}"
    );
    let error = within(admin.delete_subscription("t", ""))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ClientError::InvalidName {
                what: "subscription",
                ..
            }
        ),
        "{error}"
    );
    drop((client, admin));
    assert!(peer.until_closed().await.is_empty());
}

const TENANTS: &[u8] = br#"{"tenants":[{"name":"acme","namespaces":2}]}"#;
const POLICIES: &[u8] = br#"{"scope":"acme/eu","level":"namespace","policies":{"ttl_ms":5000}}"#;

#[tokio::test]
async fn a_tenant_whose_answer_was_lost_is_recognised_and_policies_travel() {
    let broker = Broker::start().await;
    let (client, mut peer) = broker.connected(broker.client()).await;
    let admin = client.admin();
    let answering = async {
        peer.next().await;
        drop(peer);
        let mut peer = broker.welcome().await;
        let again = peer.next().await;
        peer.refuse(
            &again,
            ErrorReply::new(Status::NamespaceExists, "there is one"),
        )
        .await;
        let list = peer.next().await;
        let Request::Admin(Admin::Tenancy(Tenancy::ListTenants)) = list.request() else {
            panic!("{:?}", list.request())
        };
        let done = Reply::AdminDone(AdminDone { json: TENANTS });
        peer.reply(0, list.correlation, &done).await;
        peer
    };
    let (created, mut peer) =
        within(async { tokio::join!(admin.create_tenant("acme"), answering) }).await;
    assert_eq!(created.unwrap().namespaces, 2);

    let change = PolicyChange {
        policy: Policy::TtlMs,
        value: Some(5_000),
    };
    let answering = async {
        let frame = peer.next().await;
        let Request::Admin(Admin::Tenancy(Tenancy::SetPolicies { scope, changes })) =
            frame.request()
        else {
            panic!("{:?}", frame.request())
        };
        assert_eq!(
            (scope.to_string().as_str(), &changes[..]),
            ("acme/eu", &[change][..])
        );
        let done = Reply::AdminDone(AdminDone { json: POLICIES });
        peer.reply(0, frame.correlation, &done).await;
    };
    let changes = [change];
    let (set, ()) =
        within(async { tokio::join!(admin.set_policies("acme/eu", &changes), answering) }).await;
    assert_eq!(set.unwrap().policies["ttl_ms"], 5_000);
}

#[tokio::test]
async fn what_no_policy_or_name_can_be_is_refused_before_anything_is_sent() {
    let broker = Broker::start().await;
    let (client, _peer) = broker.connected(broker.client()).await;
    let admin = client.admin();
    let error = within(admin.create_namespace("acme")).await.unwrap_err();
    let namespace = "namespace";
    assert!(
        matches!(error, ClientError::InvalidName { what, .. } if what == namespace),
        "{error}"
    );
    let wrong = PolicyChange {
        policy: Policy::RateBytes,
        value: Some(0),
    };
    let error = within(admin.set_policies("acme", &[wrong]))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClientError::InvalidArgument { .. }),
        "{error}"
    );
    let error = within(admin.grant("acme/eu", "app", &[]))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClientError::InvalidArgument { .. }),
        "{error}"
    );
}
