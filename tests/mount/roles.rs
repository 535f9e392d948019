//! Other ways in than the annotation: a role of the class, chains of roles, keys of a Secret.

use std::time::Duration;

use devcloud::node::{Class, Mount};
use devcloud::{ADMIN_ACCESS_KEY_ID, ADMIN_SECRET_ACCESS_KEY, Fault, Pod, Role, Session, Trust};
use tonic::Code;

use crate::support::{AUDIENCE, ROLE, World, assert_refused, class_of, cloud, mount_for};

const HUB: &str = "arn:aws:iam::111122223333:role/hub";
const SPOKE: &str = "arn:aws:iam::444455556666:role/spoke";
const READER: &str = "arn:aws:iam::444455556666:role/reader";

/// Two accounts: the pod's, with a hub that the pod's role may take, and another one, whose spoke asks the hub for an external id
/// and whose reader alone may read its secret.
async fn world() -> World {
    let cloud = cloud().await;
    let agent = format!("--pod-identity-endpoint={}/v1/credentials", cloud.agent_url());
    let tagged_by_id = Trust::Role { arn: HUB.into(), external_id: Some("shop-1".into()) };
    cloud.put_role(Role::new(HUB).trust_role(ROLE).allow("sts:AssumeRole", SPOKE));
    cloud.put_role(Role::new(SPOKE).trust(tagged_by_id).allow("sts:AssumeRole", READER));
    cloud.put_role(Role::new(READER).trust_role(SPOKE).allow("secretsmanager:GetSecretValue", "*"));
    cloud.put_secret_in("444455556666", "eu-west-1", "vault/key", "abroad", false);
    cloud.put_secret("eu-west-1", "shop/key", "key");
    World::on(cloud, &["--driver-writes-secrets=true", &agent], &[]).await
}

fn chain() -> String {
    format!(
        "- {{roleArn: {HUB}, sessionTags: {{team: shop, step: one}}, transitiveTagKeys: [team]}}\n\
         - {{roleArn: {SPOKE}, externalId: shop-1, sessionTags: {{step: two}}, durationSeconds: 900}}\n\
         - {{roleArn: {READER}}}\n"
    )
}

fn abroad(chain: &str) -> Class {
    class_of(&["vault/key"]).with("assumeRoles", chain)
}

fn sessions_of(world: &World, role: &str) -> Vec<Session> {
    world.cloud.sessions().into_iter().filter(|session| session.role_arn == role).collect()
}

fn tag<'a>(session: &'a Session, key: &str) -> Option<&'a str> {
    session.tags.get(key).map(String::as_str)
}

#[tokio::test]
async fn a_chain_reaches_another_account_with_external_id_tags_and_duration() {
    let world = world().await;
    let answer = world.ask(&abroad(&chain())).await.expect("answered");
    assert_eq!(answer.files[0].contents, b"abroad");
    assert_eq!(world.cloud.count("AssumeRole"), 3);

    let [hub] = &sessions_of(&world, HUB)[..] else { panic!("one session of the hub") };
    assert_eq!((tag(hub, "team"), tag(hub, "step")), (Some("shop"), Some("one")));
    let [spoke] = &sessions_of(&world, SPOKE)[..] else { panic!("one session of the spoke") };
    assert_eq!((tag(spoke, "team"), tag(spoke, "step")), (Some("shop"), Some("two")));
    let [reader] = &sessions_of(&world, READER)[..] else { panic!("one session of the reader") };
    assert_eq!((tag(reader, "team"), tag(reader, "step")), (Some("shop"), None), "only the transitive one goes on");
    assert!(spoke.expires + 2_000 < reader.expires, "a quarter of an hour against an hour");
    // A46: pods share it, so no pod's name is in it.
    assert!([hub, spoke, reader].iter().all(|session| session.name == "shop.web"));
}

#[tokio::test]
async fn hops_are_kept_one_by_one_and_shared_by_what_has_them_in_common() {
    let world = world().await;
    world.ask(&abroad(&chain())).await.expect("answered");
    let other = world.cloud.put_pod("shop", "web-1", "web", "node-a");
    world.ask_as(&other, &abroad(&chain())).await.expect("answered");
    assert_eq!(world.cloud.count("AssumeRole"), 3, "pods of one account share all hops");

    // The first two hops are the same.
    let longer =
        chain().replace(&format!("{{roleArn: {READER}}}"), &format!("{{roleArn: {READER}, durationSeconds: 901}}"));
    world.ask(&abroad(&longer)).await.expect("answered");
    assert_eq!(world.cloud.count("AssumeRole"), 4);
    let tagged = chain().replace("step: one", "step: other");
    world.ask(&abroad(&tagged)).await.expect("answered");
    assert_eq!(world.cloud.count("AssumeRole"), 7, "another tag in the first hop makes all of them others");
    assert_eq!(world.cloud.count("AssumeRoleWithWebIdentity"), 1);
}

#[tokio::test]
async fn f26_a_refused_hop_is_named_and_those_before_it_stay() {
    let world = world().await;
    let class = abroad(&chain().replace("externalId: shop-1", "externalId: other"));
    let texts = [
        "hop 2 of assumeRoles",
        SPOKE,
        &format!("by {HUB}"),
        "with the externalId",
        "sts:TagSession",
        "[AccessDenied]",
    ];
    assert_refused(world.ask(&class).await, Code::PermissionDenied, "AssumeRoleDenied", &texts);
    assert_eq!((world.cloud.count("AssumeRole"), world.cloud.count("GetSecretValue")), (2, 0));
    world.ask(&abroad(&chain())).await.expect("answered");
    assert_eq!(world.cloud.count("AssumeRole"), 4, "the hub's session was still there");

    let first = abroad(&format!("- roleArn: {READER}"));
    let texts = ["hop 1 of assumeRoles", READER, &format!("by {ROLE}"), "without an externalId"];
    assert_refused(world.ask(&first).await, Code::PermissionDenied, "AssumeRoleDenied", &texts);
}

#[tokio::test]
async fn f21_a_hop_whose_session_has_ended_is_made_anew_once() {
    let world = world().await;
    let expired = || Fault::error("AssumeRole", 403, "ExpiredToken", "expired");
    world.cloud.inject(expired().times(1));
    world.ask(&abroad(&chain())).await.expect("answered");
    assert_eq!((world.cloud.count("AssumeRoleWithWebIdentity"), world.cloud.count("AssumeRole")), (2, 4));
    world.cloud.inject(expired());
    let result = world.ask_as(&world.newcomer(), &abroad(&chain())).await;
    assert_refused(result, Code::Internal, "CredentialsExpired", &["hop 1 of assumeRoles"]);
}

#[tokio::test]
async fn a26_a_chain_from_pod_identity_belongs_to_the_pod() {
    let world = world().await;
    world.cloud.associate_pod_identity("shop", "web", ROLE);
    let class = abroad(&chain()).with("auth", "podIdentity");
    let other = world.cloud.put_pod("shop", "web-1", "web", "node-a");
    for pod in [&world.pod, &other, &world.pod] {
        world.ask_as(pod, &class).await.expect("answered");
    }
    let readers = sessions_of(&world, READER);
    let mut pods: Vec<_> = readers.iter().filter_map(|session| tag(session, "kubernetes-pod-name")).collect();
    pods.sort_unstable();
    assert_eq!(pods, ["web-0", "web-1"]);
    assert_eq!((world.cloud.count("AssumeRole"), world.cloud.count("get serviceaccounts")), (6, 0));
}

#[tokio::test]
async fn a_class_names_its_role_and_kubernetes_is_not_asked() {
    let world = world().await;
    world.cloud.put_service_account("shop", "web", &[]);
    let answer = world.ask(&class_of(&["shop/key"]).with("roleArn", ROLE)).await.expect("answered");
    assert_eq!(answer.files[0].contents, b"key");
    for api in ["get serviceaccounts", "get nodes", "get pods", "create tokenreviews"] {
        assert_eq!(world.cloud.count(api), 0, "{api}");
    }
    // A06: AWS decides whether the pod may have it.
    let refused = world.ask(&class_of(&["shop/key"]).with("roleArn", READER)).await;
    assert_refused(refused, Code::PermissionDenied, "AssumeRoleDenied", &[READER, "shop:web"]);
    assert_refused(
        world.ask(&class_of(&["shop/key"])).await,
        Code::FailedPrecondition,
        "RoleMissing",
        &["set roleArn in the class"],
    );
}

#[tokio::test]
async fn a16_reserved_tags_and_contradictions_are_refused_before_anybody_is_asked() {
    let world = world().await;
    let tags = format!(
        "- {{roleArn: {HUB}, sessionTags: {{Kubernetes-Namespace: bank}}, transitiveTagKeys: [Kubernetes-Namespace]}}"
    );
    for (parameter, value, reason) in [
        ("assumeRoles", tags.as_str(), "InvalidParameter"),
        ("assumeRoles", "- roleArn: hub", "InvalidParameter"),
        ("auth", "keys", "InvalidParameter"),
        ("auth", "podIdentity", "ConflictingSettings"),
    ] {
        let class = class_of(&["shop/key"]).with("usePodIdentity", "false").with(parameter, value);
        assert_refused(world.ask(&class).await, Code::InvalidArgument, reason, &[]);
    }
    assert_eq!(world.cloud.calls().iter().filter(|call| call.api.starts_with("Assume")).count(), 0);
}

/// A mount of the pod with keys in a Secret.
fn with_keys(world: &World, pod: &Pod, class: &Class, keys: &[(&str, &str)]) -> Mount {
    let target = world.node.unmounted(pod, "secrets").expect("a directory");
    let mount = mount_for(&world.cloud, pod, class, &target);
    keys.iter().fold(mount, |mount, (name, value)| mount.secret(name, value))
}

const KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", ADMIN_ACCESS_KEY_ID), ("aws_secret_access_key", ADMIN_SECRET_ACCESS_KEY)];

#[tokio::test]
async fn a07_keys_of_a_secret_are_used_and_nothing_stands_in_for_them() {
    let world = world().await;
    let class = class_of(&["shop/key"]).with("auth", "nodePublishSecret");
    let mount = |keys: &[(&str, &str)]| with_keys(&world, &world.pod, &class, keys);
    for (keys, text) in [
        (&[][..], "no Secret came with the mount"),
        (&KEYS[..1], "has no aws_secret_access_key"),
        (&[("token", "x")], "has no aws_access_key_id"),
        (&[KEYS[0], ("aws_secret_access_key", "two words")], "is no key of AWS"),
    ] {
        assert_refused(world.driver.mount(&mount(keys)).await, Code::FailedPrecondition, "CredentialsMissing", &[text]);
    }
    assert_eq!(world.cloud.count("GetSecretValue"), 0);
    let answer = world.driver.mount(&mount(&KEYS)).await.expect("answered");
    assert_eq!(answer.files[0].contents, b"key");
    assert_eq!(world.cloud.count("AssumeRoleWithWebIdentity"), 0);
    let wrong = world.driver.mount(&mount(&[KEYS[0], ("aws_secret_access_key", "wrong")])).await;
    assert_refused(wrong, Code::PermissionDenied, "SecretAccessDenied", &["the keys of nodePublishSecretRef"]);
    world.cloud.inject(Fault::error("GetSecretValue", 400, "ExpiredTokenException", "expired"));
    let ended = world.driver.mount(&mount(&KEYS)).await;
    assert_refused(ended, Code::Internal, "CredentialsExpired", &["put new ones into that Secret"]);
    world.cloud.clear_faults();

    // The pod is proved all the same, and other classes know nothing of the keys.
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let bare = Mount::new(&world.pod, &class, &target).secret(KEYS[0].0, KEYS[0].1).secret(KEYS[1].0, KEYS[1].1);
    assert_refused(world.driver.mount(&bare).await, Code::FailedPrecondition, "TokenMissing", &[AUDIENCE]);
    world.cloud.put_secret("eu-west-1", "bank/gold", "gold");
    let of_role = with_keys(&world, &world.pod, &class_of(&["bank/gold"]), &KEYS);
    assert_refused(world.driver.mount(&of_role).await, Code::PermissionDenied, "SecretAccessDenied", &[ROLE]);
}

#[tokio::test]
async fn a07_what_keys_have_opened_is_not_shared_with_whoever_knows_half_of_them() {
    let world = world().await;
    let target = "arn:aws:iam::111122223333:role/of-keys";
    world.cloud.put_role(
        Role::new(target).allow("secretsmanager:GetSecretValue", "*").max_session(Duration::from_secs(7_200)),
    );
    let class = class_of(&["shop/key"])
        .with("auth", "nodePublishSecret")
        .with("assumeRoles", &format!("- {{roleArn: {target}, durationSeconds: 7200}}"));
    for _ in 0..2 {
        world.driver.mount(&with_keys(&world, &world.pod, &class, &KEYS)).await.expect("answered");
    }
    assert_eq!(world.cloud.count("AssumeRole"), 1);
    let half = [KEYS[0], ("aws_secret_access_key", "wrong")];
    let refused = world.driver.mount(&with_keys(&world, &world.pod, &class, &half)).await;
    assert_refused(refused, Code::PermissionDenied, "AssumeRoleDenied", &["hop 1", "the keys of nodePublishSecretRef"]);
}
