//! Only the pod itself gets its secrets.

use std::os::unix::fs::symlink;
use std::path::Path;

use devcloud::node::Mount;
use devcloud::{DevCloud, Fault, FaultKind, TokenOptions};
use tonic::Code;

use crate::support::{AUDIENCE, ROLE, ROLE_ANNOTATION, World, assert_refused, class_of, cloud, mount_for};

/// A world with one readable secret, its class and a target.
async fn world() -> (World, devcloud::node::Class, std::path::PathBuf) {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    (world, class_of(&["shop/key"]), target)
}

#[tokio::test]
async fn p9_tokens_that_prove_nothing_are_refused_before_aws_is_asked() {
    let (world, class, target) = world().await;
    world.driver.mount(&world.mount_of(&class, &target)).await.expect("the good one warms what is warm");
    let other = world.cloud.put_pod("shop", "web-1", "web", "node-a");
    let options = || TokenOptions::audience(AUDIENCE);
    world.cloud.clear_calls();
    for (what, token, reason) in [
        ("forged", world.cloud.token_with(&world.pod, options().forged()), "TokenInvalid"),
        ("expired", world.cloud.token_with(&world.pod, options().expires_in(-120)), "TokenExpired"),
        ("for later", world.cloud.token_with(&world.pod, options().not_before_in(600)), "TokenExpired"),
        (
            "another issuer",
            world.cloud.token_with(&world.pod, options().issuer("https://attacker.test")),
            "TokenInvalid",
        ),
        (
            "another subject",
            world.cloud.token_with(&world.pod, options().subject("system:serviceaccount:shop:admin")),
            "TokenMismatch",
        ),
        ("another pod of the account", world.cloud.token(&other, AUDIENCE), "TokenMismatch"),
        ("the other audience", world.cloud.token(&world.pod, "pods.eks.amazonaws.com"), "TokenInvalid"),
        ("unbound", world.cloud.unbound_token("shop", "web", options()), "TokenInvalid"),
        ("algorithm none", world.cloud.token_with(&world.pod, options().algorithm("none")), "TokenInvalid"),
    ] {
        let mount = Mount::new(&world.pod, &class, &target).token(AUDIENCE, &token);
        let result = world.driver.mount(&mount).await;
        eprintln!("{what}: {:?}", result.as_ref().map_err(|status| status.message().to_owned()));
        assert_refused(result, Code::Unauthenticated, reason, &["the pod's token is refused"]);
    }
    let asked: Vec<_> = world.cloud.calls().into_iter().filter(|call| call.service != "kubernetes").collect();
    assert!(asked.is_empty(), "{asked:?}");
}

#[tokio::test]
async fn a08_attributes_of_another_pod_do_not_help() {
    let (world, class, target) = world().await;
    let victim = world.cloud.put_pod("bank", "vault-0", "vault", "node-a");
    let mine = || world.mount_of(&class, &target);
    let attribute = |name: &str| format!("csi.storage.k8s.io/{name}");
    for (what, mount, reason, code) in [
        ("namespace", mine().attribute(&attribute("pod.namespace"), "bank"), "TokenMismatch", Code::Unauthenticated),
        (
            "service account",
            mine().attribute(&attribute("serviceAccount.name"), "vault"),
            "TokenMismatch",
            Code::Unauthenticated,
        ),
        ("pod name", mine().attribute(&attribute("pod.name"), "vault-0"), "TokenMismatch", Code::Unauthenticated),
        ("pod uid", mine().attribute(&attribute("pod.uid"), &victim.uid), "TargetUnexpected", Code::FailedPrecondition),
        (
            "all of it",
            Mount::new(&victim, &class, &target).token(AUDIENCE, &world.cloud.token(&world.pod, AUDIENCE)),
            "TargetUnexpected",
            Code::FailedPrecondition,
        ),
    ] {
        eprintln!("{what}");
        assert_refused(world.driver.mount(&mount).await, code, reason, &[]);
    }
}

#[tokio::test]
async fn a31_a_token_of_another_node_is_refused_where_the_node_is_known() {
    let (world, class, target) = world().await;
    let provider =
        crate::support::start(&world.cloud, &world.node, &["--driver-writes-secrets=true"], &[("NODE_NAME", "node-b")]);
    let driver = provider.driver(crate::support::READY).await.expect("serves");
    let result = driver.mount(&world.mount_of(&class, &target)).await;
    assert_refused(result, Code::Unauthenticated, "TokenMismatch", &["another node"]);
}

#[tokio::test]
async fn a07_credentials_of_the_environment_are_never_in_reach_of_a_mount() {
    let (world, class, target) = world().await;
    let provider = crate::support::start(
        &world.cloud,
        &world.node,
        &["--driver-writes-secrets=true", "--max-age=0s"],
        &[
            ("AWS_ACCESS_KEY_ID", devcloud::ADMIN_ACCESS_KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", devcloud::ADMIN_SECRET_ACCESS_KEY),
        ],
    );
    let driver = provider.driver(crate::support::READY).await.expect("serves");
    driver.mount(&world.mount_of(&class, &target)).await.expect("mounted with the pod's own role");
    world.cloud.put_service_account("shop", "web", &[]);
    let result = driver.mount(&world.mount_of(&class, &target)).await;
    assert_refused(result, Code::FailedPrecondition, "RoleMissing", &[]);
    let callers: Vec<_> = world.cloud.calls().into_iter().filter_map(|call| call.caller).collect();
    assert!(!callers.is_empty() && callers.iter().all(|caller| caller == ROLE), "{callers:?}");
}

#[tokio::test]
async fn f10_a_missing_token_says_what_to_add_to_the_driver() {
    let (world, class, target) = world().await;
    let none = world.driver.mount(&Mount::new(&world.pod, &class, &target)).await;
    assert_refused(
        none,
        Code::FailedPrecondition,
        "TokenMissing",
        &["sts.amazonaws.com (it has none)", "tokenRequests"],
    );
    let token = world.cloud.token(&world.pod, "pods.eks.amazonaws.com");
    let other = Mount::new(&world.pod, &class, &target).token("pods.eks.amazonaws.com", &token);
    assert_refused(
        world.driver.mount(&other).await,
        Code::FailedPrecondition,
        "TokenMissing",
        &["it has pods.eks.amazonaws.com"],
    );
}

#[tokio::test]
async fn a25_a_service_account_that_was_made_anew_is_another_one() {
    let world = World::on(crate::support::cloud().await, &["--driver-writes-secrets=true", "--max-age=0s"], &[]).await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let mount = world.mount_of(&class_of(&["shop/key"]), &target);
    world.driver.mount(&mount).await.expect("mounted");
    world.cloud.recreate_service_account("shop", "web", &[(ROLE_ANNOTATION, ROLE)]);
    assert_refused(world.driver.mount(&mount).await, Code::Unauthenticated, "TokenMismatch", &["restart the pod"]);
}

#[tokio::test]
async fn f3_a_token_of_a_rotated_key_is_accepted() {
    let world = a_readable_key(&["--driver-writes-secrets=true", "--token-verification=jwks"]).await;
    world.cloud.rotate_keys();
    let before = world.cloud.count("get jwks");
    world.ask(&class_of(&["shop/key"])).await.expect("the key set was read again");
    assert_eq!(world.cloud.count("get jwks"), before + 1);
}

/// A world with one readable secret and a provider with these arguments.
async fn a_readable_key(arguments: &[&str]) -> World {
    let world = World::with(arguments).await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    world
}

#[tokio::test]
async fn f85_a_key_set_that_lacks_the_signers_key_keeps_no_pod_from_its_secrets() {
    let world = a_readable_key(&["--driver-writes-secrets=true"]).await;
    // What the API server published when it started, while the signer has gone on.
    world.cloud.rotate_keys();
    world.cloud.inject(Fault::error("get jwks", 500, "InternalError", "oh"));
    world.ask(&class_of(&["shop/key"])).await.expect("the API server says whose token it is");
    let other = world.cloud.put_pod("shop", "web-1", "web", "node-a");
    world.ask_as(&other, &class_of(&["shop/key"])).await.expect("mounted");
    assert_eq!(world.cloud.count("create tokenreviews"), 2);
    // It looks at pods too, and its word is asked for before anything that is kept is given out.
    let gone = world.cloud.put_pod("shop", "web-2", "web", "node-a");
    let target = world.node.unmounted(&gone, "secrets").expect("a directory");
    let mount = mount_for(&world.cloud, &gone, &class_of(&["shop/key"]), &target);
    world.cloud.delete_pod("shop", "web-2");
    let refused = world.driver.mount(&mount).await;
    assert_refused(refused, Code::Unauthenticated, "TokenInvalid", &["the API server does not accept it"]);
}

#[tokio::test]
async fn f85_a_provider_that_may_neither_read_keys_nor_have_tokens_reviewed_says_which_right_it_lacks() {
    let cloud = crate::support::cloud().await;
    for api in ["get jwks", "get openid-configuration", "create tokenreviews"] {
        cloud.inject(Fault::forbidden(api));
    }
    let issuer = format!("--token-issuer={}", cloud.issuer());
    let world = World::on(cloud, &["--driver-writes-secrets=true", &issuer], &[]).await;
    let refused = world.ask(&class_of(&["shop/key"])).await;
    assert_refused(refused, Code::FailedPrecondition, "KubernetesForbidden", &["create tokenreviews", "ClusterRole"]);
    assert_eq!(world.cloud.count("AssumeRoleWithWebIdentity"), 0);
}

#[tokio::test]
async fn f85_with_token_review_alone_no_key_is_read() {
    let world = a_readable_key(&["--driver-writes-secrets=true", "--token-verification=token-review"]).await;
    for _ in 0..3 {
        world.ask(&class_of(&["shop/key"])).await.expect("mounted");
    }
    // The tests' node makes a token anew for each mount.
    assert_eq!((world.cloud.count("get jwks"), world.cloud.count("create tokenreviews")), (0, 3));
}

#[tokio::test]
async fn p10_without_verification_aws_judges_each_token() {
    let world = a_readable_key(&["--driver-writes-secrets=true", "--token-verification=off"]).await;
    let class = class_of(&["shop/key"]);
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let mount = world.mount_of(&class, &target);
    for _ in 0..3 {
        world.driver.mount(&mount).await.expect("mounted");
    }
    assert_eq!(world.cloud.count("AssumeRoleWithWebIdentity"), 1, "the same token");
    world.driver.mount(&world.mount_of(&class, &target)).await.expect("mounted");
    assert_eq!(world.cloud.count("AssumeRoleWithWebIdentity"), 2, "another token of the same pod");
    // A forged one opens nothing that the good ones have opened.
    let forged = world.cloud.token_with(&world.pod, TokenOptions::audience(AUDIENCE).forged());
    let refused = world.driver.mount(&Mount::new(&world.pod, &class, &target).token(AUDIENCE, &forged)).await;
    let refused = refused.expect_err("AWS looks at the signature");
    assert!(refused.message().contains("InvalidIdentityToken"), "{}", refused.message());
    assert_eq!(world.cloud.count("create tokenreviews") + world.cloud.count("get jwks"), 0);
}

#[tokio::test]
async fn tokens_among_the_secrets_of_the_request_count() {
    let (world, class, target) = world().await;
    world.driver.mount(&world.mount_of(&class, &target).tokens_in_secrets()).await.expect("mounted");
}

#[tokio::test]
async fn f6_the_key_set_may_be_published_by_the_issuer_and_is_read_like_aws() {
    let url = "https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789/keys";
    let keys = format!("--token-keys={url}");
    let (world, proxy) = World::behind_a_proxy_with(&["--token-verification=jwks", &keys]).await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    world.ask(&class_of(&["shop/key"])).await.expect("answered");
    let forged = world.cloud.token_with(&world.pod, TokenOptions::audience(AUDIENCE).forged());
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    let forged = Mount::new(&world.pod, &class_of(&["shop/key"]), &target).token(AUDIENCE, &forged);
    assert_refused(world.driver.mount(&forged).await, Code::Unauthenticated, "TokenInvalid", &["signature"]);
    assert_eq!((world.cloud.count("GetKeys"), world.cloud.count("get /openid/v1/jwks")), (1, 0));
    assert!(
        proxy.hosts().iter().any(|host| host.starts_with("oidc.eks.eu-west-1.amazonaws.com")),
        "{:?}",
        proxy.hosts()
    );
}

#[tokio::test]
async fn f6_f7_a_key_set_of_the_issuer_that_does_not_come_or_is_too_long_is_tried_again() {
    let cloud = cloud().await;
    let too_long =
        FaultKind::RawResponse { status: 200, content_type: "application/json".into(), body: "x".repeat(300_000) };
    for kind in [FaultKind::Hang, too_long] {
        cloud.inject(Fault::on("GetKeys", kind).times(1));
    }
    let keys = "--token-keys=https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789/keys";
    let (world, _proxy) = World::behind_a_proxy_on(cloud, &["--token-verification=jwks", keys]).await;
    let log = world.provider.log();
    assert!(log.contains("no answer in 5s") && log.contains("the answer broke off, or is too long"), "{log}");
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    world.ask(&class_of(&["shop/key"])).await.expect("answered");
}

#[tokio::test]
async fn a_token_of_a_new_key_is_not_refused_but_not_provable_while_no_keys_can_be_read() {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    world.ask(&class_of(&["shop/key"])).await.expect("answered");
    world.cloud.rotate_keys();
    for request in ["get /openid/v1/jwks", "create tokenreviews"] {
        world.cloud.inject(Fault::error(request, 503, "ServiceUnavailable", "no"));
    }
    let refused = world.ask(&class_of(&["shop/key"])).await;
    assert_refused(refused, Code::Internal, "KeysUnavailable", &["the Kubernetes API did not answer"]);
    world.cloud.clear_faults();
    world.ask(&class_of(&["shop/key"])).await.expect("the keys were read");
}

/// As a ConfigMap is changed under a pod, and as a link that leads out of its directory: neither is the file that was there
/// when the process confined itself to the files it works with.
#[tokio::test]
async fn f3_a_key_set_in_a_file_may_be_a_link_and_may_be_replaced() {
    let place = tempfile::tempdir().expect("a directory");
    let at = |name: &str| place.path().join(name);
    let publish = |set: &str, cloud: &DevCloud| {
        std::fs::create_dir(at(set)).expect("made");
        std::fs::write(at(set).join("keys.json"), cloud.jwks().to_string()).expect("written");
        symlink(set, at("..data_tmp")).expect("linked");
        std::fs::rename(at("..data_tmp"), at("..data")).expect("replaced");
    };
    let cloud = cloud().await;
    publish("..first", &cloud);
    symlink("..data/keys.json", at("keys.json")).expect("linked");
    let elsewhere = tempfile::tempdir().expect("a directory");
    symlink(at("keys.json"), elsewhere.path().join("link.json")).expect("linked");
    let on = async |cloud: DevCloud, keys: &Path| {
        let keys = format!("--token-keys={}", keys.display());
        World::on(cloud, &["--driver-writes-secrets=true", "--token-verification=jwks", &keys], &[]).await
    };
    cloud.put_secret("eu-west-1", "shop/key", "key");

    let world = on(cloud, &at("keys.json")).await;
    world.ask(&class_of(&["shop/key"])).await.expect("answered");
    world.cloud.rotate_keys();
    publish("..second", &world.cloud);
    std::fs::remove_dir_all(at("..first")).expect("removed");
    world.ask(&class_of(&["shop/key"])).await.expect("the file that is there now was read");

    let world = on(world.cloud, &elsewhere.path().join("link.json")).await;
    world.ask(&class_of(&["shop/key"])).await.expect("the link was followed");
}

#[tokio::test]
async fn f12_answers_of_the_api_server_that_are_too_long_or_cut_off_are_no_answers() {
    let world = World::driver_writes().await;
    world.cloud.put_secret("eu-west-1", "shop/key", "key");
    let account = |padding: usize| FaultKind::RawResponse {
        status: 200,
        content_type: "application/json".into(),
        body: format!(
            r#"{{"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {{"name": "web",
                "uid": "1", "annotations": {{"eks.amazonaws.com/role-arn": "{ROLE}", "padding": "{}"}}}}}}"#,
            "x".repeat(padding)
        ),
    };
    for (kind, text) in [
        (account(1 << 20), "an answer that is too long"),
        (FaultKind::TruncateAfter(100), "no connection"),
        (account(0), "made anew"), // it is read, and is of another account
    ] {
        world.cloud.inject(Fault::on("get serviceaccounts", kind).times(1));
        let message = world.ask_as(&world.newcomer(), &class_of(&["shop/key"])).await.expect_err("refused");
        assert!(message.message().contains(text), "{text}: {}", message.message());
    }
    world.ask_as(&world.newcomer(), &class_of(&["shop/key"])).await.expect("answered");
}
