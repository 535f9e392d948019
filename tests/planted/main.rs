//! Planted secrets are searched for in everything that leaves the process but the files. On its own, because nothing else
//! may write into the log that is searched.

#[path = "../support/mod.rs"]
#[expect(dead_code, unused_macros, unused_imports, reason = "shared with the suite of mounts, which uses more of it")]
mod support;

use std::time::Duration;

use devcloud::node::Mount;
use devcloud::{ADMIN_ACCESS_KEY_ID, Fault, TokenOptions};
use support::{AUDIENCE, POD_IDENTITY_AUDIENCE, ROLE, World, class, class_of, cloud};

const VALUE: &str = "CANARY-VALUE-7f3a91";
/// Stands for the pod's token in the text of an error.
const POD_TOKEN: &str = "POD-TOKEN";
const KEY_VALUE: &str = "CANARY-KEY-55d0c2";
/// Key of an IAM user in a Secret.
const STATIC_KEY: &str = "CANARY-STATIC-91be44";

#[tokio::test]
async fn p14_no_secret_token_or_credential_is_in_a_log_or_an_error() {
    let cloud = cloud().await;
    cloud.associate_pod_identity("shop", "web", ROLE);
    let agent = format!("--pod-identity-endpoint={}/v1/credentials", cloud.agent_url());
    let world = World::on(cloud, &["--driver-writes-secrets=true", "--log-level=trace", &agent], &[]).await;
    let target = world.node.unmounted(&world.pod, "secrets").expect("a directory");
    world.cloud.put_secret("eu-west-1", "shop/db", format!(r#"{{"password": "{KEY_VALUE}", "x": "{VALUE}"}}"#));
    world.cloud.put_secret("eu-west-1", "shop/text", VALUE);
    world.cloud.put_secret("eu-west-1", "bank/gold", VALUE);
    world.cloud.put_parameter("eu-west-1", "/shop/parameter", VALUE, true);

    let mut told = String::new();
    let mut tokens = Vec::new();
    // Each for a pod of its own, for which nothing is remembered.
    let mut ask_as = async |pod: &devcloud::Pod, objects: &str, token: devcloud::Token| {
        let target = world.node.unmounted(pod, "secrets").expect("a directory");
        let mount = Mount::new(pod, &class(objects), &target).token(AUDIENCE, &token);
        tokens.push(token);
        // What fails to the end is told at the end.
        match world.driver.mount(&mount.timeout(Duration::from_secs(3))).await {
            Ok(answer) => answer.files.iter().any(|file| file.contents.starts_with(b"CANARY")),
            Err(status) => {
                told.push_str(&format!("{status:?}\n"));
                false
            }
        }
    };
    let good = || TokenOptions::audience(AUDIENCE);
    let mut ask = async |objects: &str, options: TokenOptions| {
        let pod = world.newcomer();
        let token = world.cloud.token_with(&pod, options);
        ask_as(&pod, objects, token).await
    };
    let pick = |path: &str| {
        format!("- {{objectName: shop/db, objectType: secretsmanager, jmesPath: [{{path: {path}, objectAlias: f}}]}}")
    };
    let text = class_of(&["shop/text"]).parameters.remove("objects").expect("there");
    assert!(ask(&pick("password"), good()).await, "the canaries do reach the files");
    ask(&pick("pasword"), good()).await;
    ask(&pick("'length(x, x)'"), good()).await;
    ask("- {objectName: shop/text, objectType: secretsmanager, jmesPath: [{path: a, objectAlias: b}]}", good()).await;
    ask("- {objectName: bank/gold, objectType: secretsmanager}", good()).await;
    for more in [
        "decode: base64",
        "decode: hex",
        "key: a",
        "expandJson: true",
        "pem: {key: k}",
        "verify: {json: true}",
        "verify: {pem: true}",
        "verify: {keys: [a]}",
        "verify: {regexp: '^x$'}",
    ] {
        assert!(
            !ask(&format!("- {{objectName: shop/text, objectType: secretsmanager, {more}}}"), good()).await,
            "{more}"
        );
    }
    ask(&text, good().forged()).await;
    ask(&text, good().expires_in(-120)).await;
    for fault in [
        Fault::error("GetSecretValue", 500, "InternalServiceError", VALUE),
        Fault::on("GetSecretValue", devcloud::FaultKind::TruncateAfter(60)),
    ] {
        world.cloud.inject(fault);
        ask(&text, good()).await;
        world.cloud.clear_faults();
    }
    // Whoever is sent a token may send it back: STS, and the API server where it is to judge it.
    world.cloud.rotate_keys();
    for api in ["AssumeRoleWithWebIdentity", "create tokenreviews"] {
        let pod = world.newcomer();
        let token = world.cloud.token(&pod, AUDIENCE);
        world.cloud.inject(Fault::error(api, 400, "ValidationError", &format!("bad {}", token.as_str())));
        assert!(!ask_as(&pod, &text, token).await, "{api}");
        world.cloud.clear_faults();
    }
    assert!(world.cloud.count("create tokenreviews") > 1, "the key set was read a moment ago, and lacks the key");
    // What is made of a value that it cannot be made of.
    world.cloud.put_secret("eu-west-1", "shop/odd", format!("{VALUE} it's \"odd\""));
    for made in [
        "format: dotenv",
        "content: '[[ json(shop_odd) ]]'",
        "content: '[[ shop_odd | b64decode ]]'",
        "content: '[[ shop_odd | pemKey ]]'",
        "content: '[[ shop_odd.a ]]'",
        "content: '[[ shop_even ]]'",
        "content: '[[ files[shop_odd] ]]'",
        "content: '[[ json(toJson(files))[shop_odd] ]]'",
    ] {
        let odd = class_of(&["shop/odd"]).with("templates", &format!("[{{path: made, {made}}}]"));
        told.push_str(&format!("{:?}\n", world.ask(&odd).await.expect_err(made)));
    }
    // The other ways: Parameter Store, EKS Pod Identity, a second Region.
    let parameter = class("- {objectName: /shop/parameter, objectType: ssmparameter}")
        .with("usePodIdentity", "true")
        .with("failoverRegion", "eu-central-1");
    for (fault, is_mounted) in [
        (None, true),
        (Some(Fault::error("GetCredentials", 400, "InvalidRequestException", POD_TOKEN)), false),
        (Some(Fault::on("GetCredentials", devcloud::FaultKind::TruncateAfter(200)).times(1)), true),
        (Some(Fault::error("GetParameters", 400, "ValidationException", POD_TOKEN)), false),
        (Some(Fault::on("GetParameters", devcloud::FaultKind::TruncateAfter(60))), false),
    ] {
        let pod = world.newcomer();
        let target = world.node.unmounted(&pod, "secrets").expect("a directory");
        let token = world.cloud.token(&pod, POD_IDENTITY_AUDIENCE);
        let with_token = |mut fault: Fault| {
            if let devcloud::FaultKind::Error { message, .. } = &mut fault.kind {
                *message = message.replace(POD_TOKEN, token.as_str());
            }
            fault
        };
        fault.map(with_token).into_iter().for_each(|fault| world.cloud.inject(fault));
        let mount = Mount::new(&pod, &parameter, &target).token(POD_IDENTITY_AUDIENCE, &token);
        let result = world.driver.mount(&mount.timeout(Duration::from_secs(8))).await;
        world.cloud.clear_faults();
        tokens.push(token);
        match result {
            Ok(answer) => assert!(is_mounted && answer.files[0].contents == VALUE.as_bytes()),
            Err(status) => {
                assert!(!is_mounted, "{status:?}");
                told.push_str(&format!("{status:?}\n"));
            }
        }
    }
    assert!(told.contains("and instead of it"), "errors of both Regions are told");
    for reason in ["DecodeFailed", "JsonKeyNotFound", "NotJson", "ValueRejected", "InvalidTemplate", "InvalidPem"] {
        assert!(told.contains(reason), "{reason}");
    }
    // Keys of a Secret, whole and broken, by themselves and to assume a role.
    let chain = "- {roleArn: 'arn:aws:iam::111122223333:role/other', externalId: shop-1}";
    for (key, chain) in [(STATIC_KEY.to_owned(), ""), (STATIC_KEY.to_owned(), chain), (format!("{STATIC_KEY} x"), "")] {
        let pod = world.newcomer();
        let target = world.node.unmounted(&pod, "secrets").expect("a directory");
        let class = class(&text).with("auth", "nodePublishSecret").with("assumeRoles", chain);
        let mount = Mount::new(&pod, &class, &target).token(AUDIENCE, &world.cloud.token(&pod, AUDIENCE));
        let mount = mount.secret("aws_access_key_id", ADMIN_ACCESS_KEY_ID).secret("aws_secret_access_key", &key);
        told.push_str(&format!("{:?}\n", world.driver.mount(&mount).await.expect_err("a wrong key")));
    }
    assert!(told.contains("hop 1 of assumeRoles") && told.contains("CredentialsMissing"), "{told}");
    // Attributes that are malformed around a token.
    let broken = Mount::new(&world.pod, &class(&text), &target).attribute(
        "csi.storage.k8s.io/serviceAccount.tokens",
        &format!("{{\"x\": {{\"token\": {:?}", world.cloud.token(&world.pod, AUDIENCE).as_str()),
    );
    told.push_str(&format!("{:?}\n", world.driver.mount(&broken).await.expect_err("malformed")));

    assert!(world.provider.logged("mount failed").await);
    let log = world.provider.log();
    assert!(log.contains("\"level\":\"TRACE\"") || log.contains("\"level\":\"DEBUG\""), "it does log at trace");
    assert!(log.contains("shop-db") && told.contains("pasword"), "an empty log would prove nothing");
    let credentials = world.cloud.secrets_of_sessions();
    assert!(!credentials.is_empty(), "somebody has had credentials");
    let mut planted: Vec<String> = vec![VALUE.into(), KEY_VALUE.into(), STATIC_KEY.into()];
    for token in &tokens {
        let (signed, signature) = token.as_str().rsplit_once('.').expect("three parts");
        planted.extend([signed.to_owned(), signature.to_owned()]);
    }
    planted.extend(credentials);
    for text in planted.iter().filter(|text| !text.is_empty()) {
        for (place, searched) in [("log", &log), ("errors", &told)] {
            if let Some(at) = searched.find(text.as_str()) {
                let line = searched[..at].lines().count();
                panic!("planted text {:?}… is in the {place}, line {line}", &text[..8]);
            }
        }
    }
}
