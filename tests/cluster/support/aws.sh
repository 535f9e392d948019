# shellcheck shell=bash
# AWS: a double of it on the node's address, and the Pod Identity agent where pods of an EKS node find it.
# shellcheck disable=SC2154 # assigned by the rig's common.sh, or by run

region=eu-west-1
failover_region=eu-central-1
agent_address=169.254.170.23
devcloud_pid=
aws_url=

seed() {
  cat <<JSON
{
  "oidc": [{"issuer": "$SERVICE_ACCOUNT_ISSUER", "audiences": ["sts.amazonaws.com", "pods.eks.amazonaws.com"],
            "jwks": $(kubectl get --raw /openid/v1/jwks)}],
  "roles": [{
    "arn": "arn:aws:iam::111122223333:role/shop-web",
    "trust": [
      {"web_identity": {"issuer": "$SERVICE_ACCOUNT_ISSUER", "subject": "system:serviceaccount:shop:web"}},
      {"web_identity": {"issuer": "$SERVICE_ACCOUNT_ISSUER", "subject": "system:serviceaccount:shop:nginx-irsa"}},
      "pod_identity"
    ],
    "allow": [
      {"action": "secretsmanager:GetSecretValue", "version_stage": "AWSCURRENT",
       "resource": "arn:aws:secretsmanager:$region:111122223333:secret:shop/*"},
      {"action": "secretsmanager:GetSecretValue", "resource": "arn:aws:secretsmanager:*:111122223333:secret:My*"},
      ${peer:+"$(rights_of_peer)"}
      {"action": "ssm:GetParameters", "resource": "arn:aws:ssm:*:111122223333:parameter/*"}
    ]
  }, {
    "arn": "arn:aws:iam::111122223333:role/shop-poor",
    "trust": [{"web_identity": {"issuer": "$SERVICE_ACCOUNT_ISSUER", "subject": "system:serviceaccount:shop:poor"}}],
    "allow": []
  }],
  "pod_identity": [{"namespace": "shop", "service_account": "nginx-pod-identity",
                    "role_arn": "arn:aws:iam::111122223333:role/shop-web"},
                   {"namespace": "shop", "service_account": "associated",
                    "role_arn": "arn:aws:iam::111122223333:role/shop-web"}],
  "secrets": [
    {"region": "$region", "name": "shop/db", "text": "{\"username\": \"shop\", \"password\": \"hunter2-first\"}"},
    {"region": "$region", "name": "shop/api-key", "text": "hunter2-key"},
    {"region": "$region", "name": "My/Path/Secret", "text": "secret in a path"}
  ],
  "parameters": [
    {"region": "$region", "name": "MyParameter", "value": "first", "labels": ["blue"]},
    {"region": "$region", "name": "MyParameter", "value": "second"},
    {"region": "$region", "name": "/My/Path/Parameter", "value": "parameter in a path", "type": "SecureString"},
    {"region": "$failover_region", "name": "MyParameter", "value": "standby"}
  ]
}
JSON
}

# The official provider names no version stage, and describes a secret before it reads it. In any other Region nothing is allowed
# without it either, and mistakes are told alike.
rights_of_peer() {
  local action place
  for action in GetSecretValue DescribeSecret; do
    for place in "$region" "$failover_region"; do
      echo "{\"action\": \"secretsmanager:$action\", \"resource\": \"arn:aws:secretsmanager:$place:111122223333:secret:*\"},"
    done
  done
}

start_devcloud() {
  seed >"$work/seed.json"
  agent_is_up
  "$target/debug/devcloud" --address "$node_address" --agent-address "$agent_address" --agent-port 80 \
    --tls-port 443 --ca-file "$work/aws-authority.pem" --seed "$work/seed.json" >"$work/devcloud.json" 2>"$work/devcloud.log" &
  devcloud_pid=$!
  wait_for "devcloud, see $work/devcloud.log" 10 grep aws_url "$work/devcloud.json"
  aws_url=$(field aws_url "$(cat "$work/devcloud.json")")
}

stop_devcloud() {
  [[ -n $devcloud_pid ]] || return 0
  kill "$devcloud_pid" 2>/dev/null || true
  wait "$devcloud_pid" 2>/dev/null || true
  agent_is_down 2>/dev/null || true
  devcloud_pid=
}

# The agent listens on an address of the node that no other program needs.
agent_is_up() { ip address replace "$agent_address/32" dev "$bridge"; }
agent_is_down() { ip address delete "$agent_address/32" dev "$bridge"; }

devcloud() { # devcloud METHOD PATH [BODY]: one of its control paths
  curl --silent --show-error --fail --noproxy '*' --request "$1" ${3:+--data-raw "$3"} "$aws_url/_devcloud/$2"
}

put_secret() { devcloud PUT "secrets/${3:-$region}?name=$1" "$2"; } # put_secret NAME VALUE [REGION]: prints what AWS made of it
put_password() { put_secret shop/db "{\"username\": \"shop\", \"password\": \"$1\"}"; }

field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" <<<"$2"; } # field NAME JSON

calls_made() { # how many of each api
  devcloud GET calls | { grep -o '"api":"[^"]*"' || true; } | cut -d '"' -f 4 | sort | uniq -c | awk '{ print $2, $1 }'
}
was_called() { calls_made | contains "^$1 "; }
