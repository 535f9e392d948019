//! Every setting, with its flag, its `SECRETMOUNT_*` variable and its default. Flags beat the environment.
//!
//! The flags of the official provider mean here what they mean there, so that its DaemonSet needs another image and nothing
//! else. A value that makes no sense stops the start with a sentence that says what to write instead; nothing falls back in
//! silence.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

/// Where operators ask the provider of this node, in a directory of its own pod.
pub const ADMIN_SOCKET: &str = "/run/secretmount/admin.sock";

/// Settings of `secretmount serve`.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Directory in which the driver looks for the provider's socket; repeat it to serve several
    #[arg(
        long,
        env = "SECRETMOUNT_PROVIDER_VOLUME",
        value_name = "DIR",
        value_delimiter = ',',
        default_value = "/var/run/secrets-store-csi-providers"
    )]
    pub provider_volume: Vec<PathBuf>,

    /// Answer with the files and let the driver write them, instead of writing them
    #[arg(long, env = "SECRETMOUNT_DRIVER_WRITES_SECRETS", value_name = "BOOL", value_parser = parse_bool,
        default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub driver_writes_secrets: bool,

    /// Longest one mount may take, retries and writing included; ends before the caller's own limit
    #[arg(long, env = "SECRETMOUNT_MOUNT_DEADLINE", value_name = "DURATION", value_parser = parse_mount_deadline,
        default_value = "60s")]
    pub mount_deadline: Duration,

    /// How old an answer of AWS or Kubernetes may be that a refresh is served with; first mounts see what holds now
    #[arg(long, env = "SECRETMOUNT_MAX_AGE", value_name = "DURATION", value_parser = parse_duration, default_value = "60s")]
    pub max_age: Duration,

    /// Most bytes of secrets that are kept in memory for refreshes
    #[arg(long, env = "SECRETMOUNT_CACHE_BYTES", value_name = "BYTES", default_value_t = 8 * 1024 * 1024)]
    pub cache_bytes: usize,

    /// Most of them for pods of one namespace
    #[arg(long, env = "SECRETMOUNT_CACHE_NAMESPACE_BYTES", value_name = "BYTES", default_value_t = 2 * 1024 * 1024)]
    pub cache_namespace_bytes: usize,

    /// How long a volume whose refresh failed is left alone; longer after each further failure, up to ten times that
    #[arg(long, env = "SECRETMOUNT_FAILED_REFRESH_PAUSE", value_name = "DURATION", value_parser = parse_pause,
        default_value = "30s")]
    pub failed_refresh_pause: Duration,

    /// Most calls under way to one AWS endpoint, which is also how many connections it has; a quarter for STS
    #[arg(long, env = "SECRETMOUNT_ENDPOINT_CALLS", value_name = "COUNT", value_parser = parse_count, default_value = "128")]
    pub endpoint_calls: usize,

    /// Most of them for one mount
    #[arg(long, env = "SECRETMOUNT_MOUNT_CALLS", value_name = "COUNT", value_parser = parse_count, default_value = "64")]
    pub mount_calls: usize,

    /// Read up to twenty secrets with one call (BatchGetSecretValue), where the pod's role may do so
    #[arg(long, env = "SECRETMOUNT_BATCH_GET_SECRET_VALUE", value_name = "BOOL", value_parser = parse_bool,
        default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub batch_get_secret_value: bool,

    /// How long mounts that run when SIGTERM comes may go on
    #[arg(long, env = "SECRETMOUNT_SHUTDOWN_GRACE", value_name = "DURATION", value_parser = parse_duration,
        default_value = "25s")]
    pub shutdown_grace: Duration,

    /// Kubelet's root directory; without it, the part of each target path before /pods/, where that is a mount point
    #[arg(long, env = "SECRETMOUNT_KUBELET_DIR", value_name = "DIR", value_parser = parse_absolute)]
    pub kubelet_dir: Option<PathBuf>,

    /// Name of this node: tokens of pods on other nodes are refused, and its Region is the default one
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,

    /// Key of a taint that is removed from this node once its pods can have secrets
    #[arg(long, env = "SECRETMOUNT_STARTUP_TAINT", value_name = "KEY", value_parser = parse_taint_key)]
    pub startup_taint: Option<String>,

    /// Issuer that tokens must name; without it, the one that the API server's discovery document names
    #[arg(long, env = "SECRETMOUNT_TOKEN_ISSUER", value_name = "URL")]
    pub token_issuer: Option<String>,

    /// How tokens of pods are proved
    #[arg(long, env = "SECRETMOUNT_TOKEN_VERIFICATION", value_name = "HOW", default_value = "auto")]
    pub token_verification: TokenVerification,

    /// JSON Web Key Set of the cluster's signing keys, read instead of the API server's: a file, or an https URL
    #[arg(long, env = "SECRETMOUNT_TOKEN_KEYS", value_name = "FILE|URL", value_parser = parse_token_keys)]
    pub token_keys: Option<TokenKeys>,

    /// Region of classes that name none; without it, the label topology.kubernetes.io/region of the pod's node
    #[arg(long, env = "AWS_REGION", value_name = "REGION")]
    pub aws_region: Option<String>,

    /// Audience of the tokens that are exchanged at STS; repeat it where clusters differ
    #[arg(
        long,
        env = "SECRETMOUNT_IRSA_AUDIENCE",
        value_name = "AUDIENCE",
        value_delimiter = ',',
        default_value = "sts.amazonaws.com"
    )]
    pub irsa_audience: Vec<String>,

    /// Address of the EKS Pod Identity agent; repeat it for IPv4 and IPv6
    #[arg(
        long,
        env = "SECRETMOUNT_POD_IDENTITY_ENDPOINT",
        value_name = "URL",
        value_delimiter = ',',
        default_values = ["http://169.254.170.23/v1/credentials", "http://[fd00:ec2::23]/v1/credentials"]
    )]
    pub pod_identity_endpoint: Vec<String>,

    /// Rules for what each namespace may ask for, in YAML; without it, AWS alone decides
    #[arg(long, env = "SECRETMOUNT_POLICY_FILE", value_name = "FILE", value_parser = parse_absolute)]
    pub policy_file: Option<PathBuf>,

    /// Reach no files but those that settings name, where the kernel has Landlock
    #[arg(long, env = "SECRETMOUNT_LANDLOCK", value_name = "BOOL", value_parser = parse_bool,
        default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub landlock: bool,

    /// Port for probes: /livez, and /readyz, which asks this provider through its sockets; 0 for none
    #[arg(long, env = "SECRETMOUNT_HEALTH_PORT", value_name = "PORT", default_value_t = 0)]
    pub health_port: u16,

    /// Port for Prometheus: /metrics; 0 for none
    #[arg(long, env = "SECRETMOUNT_METRICS_PORT", value_name = "PORT", default_value_t = 0)]
    pub metrics_port: u16,

    /// Tell owners of pods of failed refreshes, rotations and mistakes in classes, with events on their pods
    #[arg(long, env = "SECRETMOUNT_EVENTS", value_name = "BOOL", value_parser = parse_bool,
        default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub events: bool,

    /// Also of each rotation
    #[arg(long, env = "SECRETMOUNT_EVENT_ON_ROTATION", value_name = "BOOL", value_parser = parse_bool,
        default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub event_on_rotation: bool,

    /// Tell each volume's last success and failures by names of pod, volume and class among the numbers too
    #[arg(long, env = "SECRETMOUNT_METRICS_PER_VOLUME", value_name = "BOOL", value_parser = parse_bool,
        default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub metrics_per_volume: bool,

    /// Unix socket for `secretmount status`, `refresh` and `log-level`; empty for none
    #[arg(long, env = "SECRETMOUNT_ADMIN_SOCKET", value_name = "FILE", value_parser = parse_admin_socket,
        default_value = ADMIN_SOCKET)]
    pub admin_socket: PathBuf,

    /// What is logged: error, warn, info, debug or trace, or a filter such as secretmount=debug
    #[arg(long, env = "SECRETMOUNT_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: String,

    /// How it is logged
    #[arg(long, env = "SECRETMOUNT_LOG_FORMAT", value_name = "FORMAT", default_value = "json")]
    pub log_format: LogFormat,

    #[command(flatten)]
    pub limits: Limits,

    #[command(flatten)]
    pub official: OfficialSettings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line
    Json,
    /// For people
    Text,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum TokenVerification {
    /// With the cluster's keys, and where they lack the token's key, by the API server
    #[default]
    Auto,
    /// With the cluster's keys only
    Jwks,
    /// By the API server only
    TokenReview,
    /// Not at all: AWS alone judges, and nothing is shared between tokens
    Off,
}

/// Where the key set is that the operator names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenKeys {
    File(PathBuf),
    Url(String),
}

/// How much one mount may ask for. Each limit is named in the error of the mount that goes over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct Limits {
    /// Most entries in `objects` of a class
    #[arg(long, env = "SECRETMOUNT_MAX_OBJECTS", value_name = "COUNT", default_value_t = Limits::DEFAULT.max_objects)]
    pub max_objects: usize,

    /// Most files of one mount
    #[arg(long, env = "SECRETMOUNT_MAX_FILES", value_name = "COUNT", default_value_t = Limits::DEFAULT.max_files)]
    pub max_files: usize,

    /// Most keys that `expandJson` makes files of in one mount
    #[arg(long, env = "SECRETMOUNT_MAX_EXPANDED_KEYS", value_name = "COUNT",
        default_value_t = Limits::DEFAULT.max_expanded_keys)]
    pub max_expanded_keys: usize,

    /// Most secrets and parameters that `find` takes in one mount
    #[arg(long, env = "SECRETMOUNT_MAX_FIND_MATCHES", value_name = "COUNT",
        default_value_t = Limits::DEFAULT.max_find_matches)]
    pub max_find_matches: usize,

    /// Most pages of names that AWS is asked for by one `find`
    #[arg(long, env = "SECRETMOUNT_MAX_FIND_PAGES", value_name = "COUNT",
        default_value_t = Limits::DEFAULT.max_find_pages)]
    pub max_find_pages: usize,

    /// Most bytes of the text of `objects`
    #[arg(long, env = "SECRETMOUNT_MAX_OBJECTS_BYTES", value_name = "BYTES",
        default_value_t = Limits::DEFAULT.max_objects_bytes)]
    pub max_objects_bytes: usize,

    /// Most bytes of one secret and of one file
    #[arg(long, env = "SECRETMOUNT_MAX_VALUE_BYTES", value_name = "BYTES",
        default_value_t = Limits::DEFAULT.max_value_bytes)]
    pub max_value_bytes: usize,

    /// Most bytes of all files of one mount
    #[arg(long, env = "SECRETMOUNT_MAX_MOUNT_BYTES", value_name = "BYTES",
        default_value_t = Limits::DEFAULT.max_mount_bytes)]
    pub max_mount_bytes: usize,
}

impl Limits {
    pub const DEFAULT: Self = Self {
        max_objects: 500,
        max_files: 2_000,
        max_expanded_keys: 1_000,
        max_find_matches: 500,
        max_find_pages: 50,
        max_objects_bytes: 256 * 1024,
        max_value_bytes: 1024 * 1024,
        max_mount_bytes: 8 * 1024 * 1024,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Flags of the official provider, read as leniently as it reads them, so that its arguments start us too.
#[derive(Debug, Clone, Default, Args)]
pub struct OfficialSettings {
    #[arg(long, hide = true, value_name = "COUNT")]
    pub qps: Option<String>,
    #[arg(long, hide = true, value_name = "COUNT")]
    pub burst: Option<String>,
    #[arg(long, hide = true, value_name = "VERSION")]
    pub eks_addon_version: Option<String>,
    /// Longest time for one request to the EKS Pod Identity agent [default: 5s]
    #[arg(long, value_name = "DURATION")]
    pub pod_identity_http_timeout: Option<String>,
}

impl OfficialSettings {
    const AGENT_LIMIT: Duration = Duration::from_secs(5);

    /// Longest time for one request to the EKS Pod Identity agent.
    pub fn agent_limit(&self) -> Duration {
        self.given_agent_limit().unwrap_or(Self::AGENT_LIMIT)
    }

    /// `None` where nothing is given, or nothing that can be used.
    fn given_agent_limit(&self) -> Option<Duration> {
        let given = self.pod_identity_http_timeout.as_deref().and_then(|raw| parse_duration(raw).ok());
        given.filter(|limit| !limit.is_zero())
    }

    /// One sentence for each flag that was given and does nothing.
    pub fn warnings(&self) -> Vec<String> {
        let ignored = [
            ("--qps", &self.qps, "Kubernetes is asked at most once a mount, without a limit of our own"),
            ("--burst", &self.burst, "Kubernetes is asked at most once a mount, without a limit of our own"),
            ("--eks-addon-version", &self.eks_addon_version, "this is no EKS add-on"),
            // There too a value that makes no sense keeps nobody from starting.
            (
                "--pod-identity-http-timeout",
                self.given_agent_limit().map_or(&self.pod_identity_http_timeout, |_| &None),
                "it is no duration like 250ms or 2s; the default of 5s is used",
            ),
        ];
        ignored
            .into_iter()
            .filter(|(_, value, _)| value.as_deref().is_some_and(|value| !value.is_empty()))
            .map(|(flag, _, why)| format!("{flag} has no effect: {why}"))
            .collect()
    }
}

/// Go's flag package takes `-name` for `--name`, so manifests of the official provider may write either.
pub fn accept_go_flags(arguments: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    const OFFICIAL: [&str; 6] =
        ["provider-volume", "driver-writes-secrets", "qps", "burst", "eks-addon-version", "pod-identity-http-timeout"];
    arguments.map(|argument| {
        let is_official = |flag: &str| OFFICIAL.contains(&flag.split('=').next().unwrap_or(flag));
        match argument.to_str().and_then(|text| text.strip_prefix('-')) {
            Some(flag) if is_official(flag) => format!("--{flag}").into(),
            _ => argument,
        }
    })
}

/// What Go's `strconv.ParseBool` takes, because manifests of the official provider are written for it.
pub fn parse_bool(raw: &str) -> Result<bool, String> {
    match raw {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("write true or false".into()),
    }
}

/// Short enough for ten times as long to make sense.
fn parse_pause(raw: &str) -> Result<Duration, String> {
    match parse_duration(raw)? {
        pause if pause > Duration::from_secs(3_600) => Err("one hour is the most".into()),
        pause => Ok(pause),
    }
}

/// Something that there is at least one of.
fn parse_count(raw: &str) -> Result<usize, String> {
    match raw.parse() {
        Ok(0) | Err(_) => Err("write a whole number, 1 at least".into()),
        Ok(count) => Ok(count),
    }
}

/// What Go's `time.ParseDuration` takes, without a sign: numbers with units, such as `250ms`, `1.5s` or `1m30s`.
pub fn parse_duration(raw: &str) -> Result<Duration, String> {
    const HELP: &str = "write it like 30s, 250ms or 1m30s";
    let mut rest = raw;
    let mut total = Duration::ZERO;
    if rest == "0" {
        return Ok(total);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(HELP)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(HELP.into()),
        };
        let number: f64 = number.parse().map_err(|_| HELP)?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| HELP)?;
        total = total.checked_add(part).ok_or(HELP)?;
        rest = after;
    }
    if raw.is_empty() { Err(HELP.into()) } else { Ok(total) }
}

/// An absolute path of a file, or nothing.
pub fn parse_admin_socket(raw: &str) -> Result<PathBuf, String> {
    match PathBuf::from(raw) {
        // Its directory may be changed, and no more than that is to be.
        path if path.parent() == Some(Path::new("/")) => {
            Err("write a path in a directory of its own, and not in /".into())
        }
        path if raw.is_empty() || path.is_absolute() && path.file_name().is_some() => Ok(path),
        _ => Err("write an absolute path like /run/secretmount/admin.sock, or nothing for no socket".into()),
    }
}

fn parse_mount_deadline(raw: &str) -> Result<Duration, String> {
    match parse_duration(raw)? {
        deadline if deadline.is_zero() => Err("a zero deadline fails every mount; write it like 60s".into()),
        deadline => Ok(deadline),
    }
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>
fn parse_taint_key(raw: &str) -> Result<String, String> {
    let (prefix, name) = raw.split_once('/').unwrap_or(("none", raw));
    let is_known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match [prefix, name].iter().all(|part| !part.is_empty() && part.len() <= 253 && part.chars().all(is_known)) {
        true => Ok(raw.to_owned()),
        false => Err("write the key of a taint alone, like secretmount.dev/agent-not-ready".into()),
    }
}

/// Without TLS anybody on the way could put in keys of their own.
fn parse_token_keys(raw: &str) -> Result<TokenKeys, String> {
    let is_url = raw.parse::<http::Uri>().is_ok_and(|uri| {
        uri.scheme_str() == Some("https") && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
    });
    match parse_absolute(raw) {
        Ok(path) => Ok(TokenKeys::File(path)),
        Err(_) if is_url => Ok(TokenKeys::Url(raw.to_owned())),
        Err(_) => Err("write an absolute path, or a URL like https://oidc.example.org/keys".into()),
    }
}

fn parse_absolute(raw: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(raw);
    if path.is_absolute() { Ok(path) } else { Err("write an absolute path, like /var/lib/kubelet".into()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_written_as_in_go() {
        for (raw, milliseconds) in
            [("250ms", 250), ("1.5s", 1_500), ("1m30s", 90_000), ("0", 0), ("2h", 7_200_000), ("0s", 0), (".5s", 500)]
        {
            assert_eq!(parse_duration(raw), Ok(Duration::from_millis(milliseconds)), "{raw}");
        }
        for raw in ["", "1", "s", "-1s", "1 s", "1d", "1..5s", "1e3s", "99999999999999999999h", "s1"] {
            assert!(parse_duration(raw).is_err(), "{raw:?} was accepted");
        }
        assert!(parse_mount_deadline("0s").is_err());
    }

    #[test]
    fn a_taint_is_named_by_its_key_alone() {
        for key in ["secretmount.dev/agent-not-ready", "startup", "a_b.c"] {
            assert_eq!(parse_taint_key(key).as_deref(), Ok(key));
        }
        for other in ["", "a/", "/a", "a/b/c", "key=value:NoSchedule", "key:NoExecute", "a b", &"x".repeat(254)] {
            assert!(parse_taint_key(other).is_err(), "{other:?} was accepted");
        }
    }

    #[test]
    fn a_key_set_is_at_a_path_or_behind_tls() {
        assert_eq!(parse_token_keys("/keys.json"), Ok(TokenKeys::File("/keys.json".into())));
        let url = "https://oidc.eks.eu-west-1.amazonaws.com/id/0123/keys";
        assert_eq!(parse_token_keys(url), Ok(TokenKeys::Url(url.into())));
        for other in ["", "keys.json", "http://oidc.example.org/keys", "https://", "https://a@b/keys", "ftp://x/y"] {
            assert!(parse_token_keys(other).is_err(), "{other:?} was accepted");
        }
    }

    #[test]
    fn flags_with_one_dash_are_taken_where_go_took_them() {
        let given = ["secretmount", "-provider-volume=/run/x", "-qps=5", "-V", "--burst=1", "-o"];
        let read: Vec<_> = accept_go_flags(given.into_iter().map(OsString::from)).collect();
        assert_eq!(read, ["secretmount", "--provider-volume=/run/x", "--qps=5", "-V", "--burst=1", "-o"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_duration_parser_panic(raw in "\\PC{0,20}|[0-9.nuµmsh]{0,20}") {
            let _ = parse_duration(&raw);
        }
    }
}
