//! What the keys of TLS connections are agreed on with.

use std::collections::BTreeSet;

use devcloud::Options;

use crate::support::{REGION, World, class, cloud_with};

/// Whoever records the connection today and has a quantum computer one day reads no token and no secret in it.
#[tokio::test]
async fn aws_and_the_api_server_are_offered_post_quantum_keys_first() {
    let cloud = cloud_with(Options { kubernetes_tls: true, ..Options::default() }).await;
    cloud.put_secret(REGION, "shop/key", "key");
    cloud.put_parameter(REGION, "/shop/host", "host", false);
    let (world, _proxy) = World::behind_a_proxy_on(cloud, &[]).await;
    let objects =
        "- {objectName: shop/key, objectType: secretsmanager}\n- {objectName: /shop/host, objectType: ssmparameter}";
    world.ask(&class(objects)).await.expect("mounted");
    let calls = world.cloud.calls();
    let agreed =
        calls.iter().map(|call| (call.service.as_str(), call.key_exchange.as_deref())).collect::<BTreeSet<_>>();
    let services = ["kubernetes", "secretsmanager", "ssm", "sts"].map(|service| (service, Some("X25519MLKEM768")));
    assert_eq!(agreed, BTreeSet::from(services));
}
