//! How a class says its pods get their credentials: `auth`, `roleArn`, `assumeRoles`, and the official provider's
//! `usePodIdentity`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::raw::RawHop;
use super::{SHOWN, noted, parameter};
use crate::config::parse_bool;
use crate::plan::aws::{AddressFamily, Authentication, Hop, InvalidRoleArn, Origin, RoleArn};
use crate::spec::{Parameters, SpecError, yaml};

/// AWS sets no limit to a chain; every hop is a request that a first mount waits for.
const MAX_HOPS: usize = 8;
/// Most bytes of `assumeRoles`: eight hops with fifty tags of common length.
const MAX_BYTES: usize = 32 * 1024;

/// What STS takes: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
const MAX_TAGS: usize = 50;
const SHORTEST_SESSION: u64 = 900;
/// For a role that is assumed by a role, whatever its own maximum is.
const LONGEST_CHAINED_SESSION: u64 = 3_600;
const LONGEST_SESSION: u64 = 43_200;

/// Beginnings of the keys of tags by which policies recognise a pod, because EKS Pod Identity sets them, or that belong to
/// AWS. <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html>
const RESERVED_TAGS: [&str; 3] = ["kubernetes-", "eks-", "aws:"];

/// As if nothing were set where it goes wrong.
pub fn parse(parameters: &Parameters, warnings: &mut Vec<String>, errors: &mut Vec<SpecError>) -> Authentication {
    let origin = noted(origin(parameters, warnings), errors);
    let hops =
        noted(raw_hops(parameters), errors).unwrap_or_default().into_iter().zip(1..).filter_map(|(raw, number)| {
            // Of an origin that is not known, everything is possible.
            let is_chained = number > 1 || origin.as_ref().is_some_and(|origin| *origin != Origin::NodePublishSecret);
            let raw = raw.unwrap_or_default();
            for key in &raw.unknown_keys {
                warnings.push(format!("unknown key {key:?} in hop {number} of assumeRoles is ignored"));
            }
            noted(hop(raw, is_chained).map_err(|problem| SpecError::Hop { number, problem }), errors)
        });
    let hops = hops.collect();
    Authentication { origin: origin.unwrap_or(Origin::Irsa { role: None }), hops }
}

/// The words of `auth`.
enum Way {
    Irsa,
    PodIdentity,
    NodePublishSecret,
}

fn origin(parameters: &Parameters, warnings: &mut Vec<String>) -> Result<Origin, SpecError> {
    let conflict = |problem: &'static str| Err(SpecError::Conflict { problem });
    let way = match (way(parameters)?, uses_pod_identity(parameters)?) {
        (None | Some(Way::Irsa), None | Some(false)) => Way::Irsa,
        (None, Some(true)) | (Some(Way::PodIdentity), None | Some(true)) => Way::PodIdentity,
        (Some(Way::NodePublishSecret), None | Some(false)) => Way::NodePublishSecret,
        (Some(Way::Irsa | Way::NodePublishSecret), Some(true)) | (Some(Way::PodIdentity), Some(false)) => {
            return conflict("usePodIdentity says otherwise than auth; keep one of them");
        }
    };
    match (way, role(parameters)?) {
        (Way::Irsa, role) => Ok(Origin::Irsa { role }),
        (Way::PodIdentity, None) => Ok(Origin::PodIdentity(family(parameters, warnings))),
        (Way::NodePublishSecret, None) => Ok(Origin::NodePublishSecret),
        (Way::PodIdentity | Way::NodePublishSecret, Some(_)) => {
            conflict("roleArn is a role for IRSA; to assume it with other credentials, list it in assumeRoles")
        }
    }
}

fn way(parameters: &Parameters) -> Result<Option<Way>, SpecError> {
    let Some(value) = parameter(parameters, "auth") else { return Ok(None) };
    let way = match value.to_ascii_lowercase().as_str() {
        "irsa" => Way::Irsa,
        "podidentity" => Way::PodIdentity,
        "nodepublishsecret" => Way::NodePublishSecret,
        _ => {
            return Err(SpecError::Parameter {
                parameter: "auth",
                value: value.chars().take(SHOWN).collect(),
                problem: "is none of irsa, podIdentity and nodePublishSecret; write one of them, or leave it out"
                    .into(),
            });
        }
    };
    Ok(Some(way))
}

fn uses_pod_identity(parameters: &Parameters) -> Result<Option<bool>, SpecError> {
    let Some(value) = parameter(parameters, "usePodIdentity") else { return Ok(None) };
    let uses = parse_bool(value).map_err(|help| SpecError::Parameter {
        parameter: "usePodIdentity",
        value: value.chars().take(SHOWN).collect(),
        problem: format!("is neither true nor false; {help}"),
    })?;
    Ok(Some(uses))
}

/// An address type that is none is as good as absent, as in the official provider.
fn family(parameters: &Parameters, warnings: &mut Vec<String>) -> AddressFamily {
    let preferred = parameter(parameters, "preferredAddressType").unwrap_or("auto");
    match preferred.to_lowercase().as_str() {
        "auto" => AddressFamily::Any,
        "ipv4" => AddressFamily::Ipv4,
        "ipv6" => AddressFamily::Ipv6,
        _ => {
            let shown: String = preferred.chars().take(SHOWN).collect();
            warnings
                .push(format!("preferredAddressType {shown:?} is none of ipv4, ipv6 and auto; it is taken for auto"));
            AddressFamily::Any
        }
    }
}

fn role(parameters: &Parameters) -> Result<Option<RoleArn>, SpecError> {
    let Some(value) = parameter(parameters, "roleArn") else { return Ok(None) };
    let role = value.trim().parse().map_err(|problem: InvalidRoleArn| SpecError::Parameter {
        parameter: "roleArn",
        value: value.chars().take(SHOWN).collect(),
        problem: problem.to_string(),
    })?;
    Ok(Some(role))
}

fn raw_hops(parameters: &Parameters) -> Result<Vec<Option<RawHop>>, SpecError> {
    let Some(text) = parameter(parameters, "assumeRoles") else { return Ok(Vec::new()) };
    let whole = |problem: String| Err(SpecError::AssumeRoles { problem });
    if text.len() > MAX_BYTES {
        return whole(format!("has {} bytes; {MAX_BYTES} is the limit", text.len()));
    }
    let written: Option<Vec<Option<RawHop>>> = match yaml::read(text) {
        Ok(written) => written,
        Err(problem) => return whole(format!("is not a YAML list of roles: {problem}")),
    };
    let written = written.unwrap_or_default();
    if written.len() > MAX_HOPS {
        return whole(format!("has {} roles; {MAX_HOPS} is the limit", written.len()));
    }
    Ok(written)
}

/// The error is the rest of a sentence that begins with the hop.
fn hop(raw: RawHop, is_chained: bool) -> Result<Hop, String> {
    let written = raw.role_arn.unwrap_or_default();
    let shown = || written.chars().take(SHOWN).collect::<String>();
    let role = written.trim().parse().map_err(|problem| match written.is_empty() {
        true => "has no roleArn".to_owned(),
        false => format!("has the roleArn {:?}, which {problem}", shown()),
    })?;
    let external_id = raw.external_id.filter(|id| !id.is_empty()).map(external_id).transpose()?;
    let session_tags = session_tags(raw.session_tags.unwrap_or_default())?;
    let mut transitive_tag_keys = BTreeSet::new();
    for key in raw.transitive_tag_keys.unwrap_or_default() {
        if !session_tags.contains_key(&key) {
            let key: String = key.chars().take(SHOWN).collect();
            return Err(format!("has the transitive tag key {key:?}, which is none of its sessionTags"));
        }
        transitive_tag_keys.insert(key);
    }
    let longest = if is_chained { LONGEST_CHAINED_SESSION } else { LONGEST_SESSION };
    let duration = raw.duration_seconds.filter(|text| !text.is_empty()).map(|text| {
        let seconds: Option<u64> = text.parse().ok();
        let sound = seconds.filter(|seconds| (SHORTEST_SESSION..=longest).contains(seconds)).map(Duration::from_secs);
        let shown: String = text.chars().take(SHOWN).collect();
        sound.ok_or_else(|| {
            format!(
                "has the durationSeconds {shown:?}; write a number from {SHORTEST_SESSION} to {longest}, the most that AWS allows here"
            )
        })
    });
    Ok(Hop { role, external_id, session_tags, transitive_tag_keys, duration: duration.transpose()? })
}

fn external_id(id: String) -> Result<String, String> {
    let is_sound = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
    if (2..=1_224).contains(&id.len()) && id.chars().all(is_sound) {
        return Ok(id);
    }
    Err("has an externalId that AWS does not take; it has 2 to 1,224 letters, digits and _+=,.@:/-".into())
}

fn session_tags(written: BTreeMap<String, Option<String>>) -> Result<BTreeMap<String, String>, String> {
    if written.len() > MAX_TAGS {
        return Err(format!("has {} sessionTags; {MAX_TAGS} is the limit", written.len()));
    }
    // Written narrower than AWS does, which also takes spaces of other scripts.
    let is_sound = |text: &str| text.chars().all(|c| c.is_alphanumeric() || " _.:/=+-@".contains(c));
    let mut seen = BTreeSet::new();
    for (key, value) in &written {
        let shown: String = key.chars().take(SHOWN).collect();
        let lower = key.to_lowercase();
        if RESERVED_TAGS.iter().any(|reserved| lower.starts_with(reserved)) {
            return Err(format!("sets the session tag {shown:?}, which only EKS and AWS may set; choose another key"));
        }
        if !(1..=128).contains(&key.chars().count()) || !is_sound(key) {
            return Err(format!(
                "has the session tag {shown:?}; a key has 1 to 128 letters, digits, spaces and _.:/=+-@"
            ));
        }
        let value = value.as_deref().unwrap_or_default();
        if value.chars().count() > 256 || !is_sound(value) {
            return Err(format!(
                "has a value for the session tag {shown:?} that AWS does not take; it has at most 256 letters, digits, spaces and _.:/=+-@"
            ));
        }
        if !seen.insert(lower) {
            return Err(format!("has the session tag {shown:?} twice; AWS does not tell them apart by case"));
        }
    }
    Ok(written.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::reason::{Explained as _, Reason};

    const ROLE: &str = "arn:aws:iam::111122223333:role/web";

    fn parse_all(given: &[(&str, &str)]) -> Result<(Authentication, Vec<String>), SpecError> {
        let parameters = given.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let mut warnings = Vec::new();
        let mut errors = Vec::new();
        let authentication = parse(&parameters, &mut warnings, &mut errors);
        errors.into_iter().next().map_or(Ok((authentication, warnings)), Err)
    }

    fn origin_of(given: &[(&str, &str)]) -> Origin {
        parse_all(given).unwrap_or_else(|error| panic!("{given:?}: {error}")).0.origin
    }

    fn hop_error(hop: &str) -> String {
        parse_all(&[("assumeRoles", hop)]).expect_err(hop).to_string()
    }

    #[test]
    fn every_way_is_named_once() {
        let role = Some(ROLE.parse().expect("a role"));
        let pod_identity = Origin::PodIdentity(AddressFamily::Any);
        for (given, origin) in [
            (vec![], Origin::Irsa { role: None }),
            (vec![("auth", "")], Origin::Irsa { role: None }),
            (vec![("auth", "IRSA"), ("roleArn", ROLE)], Origin::Irsa { role: role.clone() }),
            (vec![("usePodIdentity", "false"), ("auth", "irsa")], Origin::Irsa { role: None }),
            (vec![("roleArn", ROLE)], Origin::Irsa { role }),
            (vec![("auth", "podIdentity")], pod_identity.clone()),
            (vec![("auth", "podIdentity"), ("usePodIdentity", "true")], pod_identity.clone()),
            (vec![("usePodIdentity", "true")], pod_identity),
            (vec![("auth", "nodePublishSecret")], Origin::NodePublishSecret),
            (vec![("auth", "nodePublishSecret"), ("usePodIdentity", "false")], Origin::NodePublishSecret),
        ] {
            assert_eq!(origin_of(&given), origin, "{given:?}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for given in [
            [("auth", "irsa"), ("usePodIdentity", "true")],
            [("auth", "podIdentity"), ("usePodIdentity", "false")],
            [("auth", "nodePublishSecret"), ("usePodIdentity", "true")],
            [("auth", "podIdentity"), ("roleArn", ROLE)],
            [("auth", "nodePublishSecret"), ("roleArn", ROLE)],
            [("usePodIdentity", "true"), ("roleArn", ROLE)],
        ] {
            assert_eq!(parse_all(&given).expect_err("refused").reason(), Reason::ConflictingSettings, "{given:?}");
        }
        for given in [("auth", "pod-identity"), ("roleArn", "web"), ("roleArn", "arn:aws:iam::1:role/x")] {
            assert_eq!(parse_all(&[given]).expect_err("refused").reason(), Reason::InvalidParameter, "{given:?}");
        }
    }

    #[test]
    fn a_chain_is_read_in_its_order_and_keys_in_any_case() {
        let written = format!(
            "- roleArn: {ROLE}\n  ExternalID: shop-1\n  sessionTags: {{team: shop, cost-centre: '12'}}\n  transitiveTagKeys: [team]\n  durationSeconds: 900\n  color: red\n- {{rolearn: {ROLE}2}}\n"
        );
        let (authentication, warnings) = parse_all(&[("assumeRoles", &written)]).expect("valid");
        let [first, second] = authentication.hops.as_slice() else { panic!("{authentication:?}") };
        assert_eq!((first.role.as_str(), first.external_id.as_deref()), (ROLE, Some("shop-1")));
        assert_eq!(first.session_tags["cost-centre"], "12");
        assert!(first.transitive_tag_keys.contains("team") && first.transitive_tag_keys.len() == 1);
        assert_eq!(first.duration, Some(Duration::from_secs(900)));
        assert_eq!((second.role.as_str(), second.duration), (format!("{ROLE}2").as_str(), None));
        assert_eq!(warnings, ["unknown key \"color\" in hop 1 of assumeRoles is ignored"]);
        for none in ["", "[]", "null", " "] {
            assert!(parse_all(&[("assumeRoles", none)]).expect(none).0.hops.is_empty());
        }
    }

    #[test]
    fn a_chain_that_aws_could_not_take_is_refused_with_its_hop() {
        let with = |more: &str| format!("- {{roleArn: {ROLE}, {more}}}");
        let many = format!("[{}]", vec![format!("{{roleArn: {ROLE}}}"); 9].join(", "));
        let tags: String = (0..51).map(|number| format!("t{number}: x, ")).collect();
        for (written, text) in [
            ("- {}".to_owned(), "hop 1 of assumeRoles has no roleArn"),
            ("[null]".to_owned(), "hop 1 of assumeRoles has no roleArn"),
            (
                format!("- roleArn: {ROLE}\n- roleArn: web"),
                "hop 2 of assumeRoles has the roleArn \"web\", which is not",
            ),
            (with("externalId: x"), "2 to 1,224"),
            (with("externalId: 'two words'"), "2 to 1,224"),
            (with("durationSeconds: 899"), "from 900 to 3600"),
            (with("durationSeconds: 3601"), "from 900 to 3600"),
            (with("durationSeconds: 1h"), "from 900 to 3600"),
            (with("transitiveTagKeys: [team]"), "none of its sessionTags"),
            (with("sessionTags: {team: a, Team: b}"), "twice"),
            (with("sessionTags: {'': b}"), "1 to 128"),
            (with(&format!("sessionTags: {{{tags}}}")), "51 sessionTags; 50"),
            (with("roleArns: [x]") + "\n  x", "is not a YAML list of roles"),
            ("web".to_owned(), "is not a YAML list of roles"),
            (many, "has 9 roles; 8 is the limit"),
            ("#".repeat(40_000), "has 40000 bytes"),
        ] {
            assert!(hop_error(&written).contains(text), "{}", hop_error(&written));
        }
    }

    #[test]
    fn a16_no_class_sets_tags_that_say_who_a_pod_is_or_texts_that_end_a_line() {
        let with = |tags: &str| hop_error(&format!("- {{roleArn: {ROLE}, sessionTags: {tags}}}"));
        for reserved in ["kubernetes-namespace", "Kubernetes-Pod-Name", "eks-cluster-arn", "AWS:PrincipalTag", "aws:x"]
        {
            assert!(with(&format!("{{'{reserved}': bank}}")).contains("which only EKS and AWS may set"), "{reserved}");
        }
        for (tags, text) in [
            (r#"{"a\nb": x}"#, "1 to 128"),
            (r#"{team: "a\nb"}"#, "at most 256"),
            (&format!("{{team: {}}}", "x".repeat(1_024)), "at most 256"),
            (&format!("{{{}: x}}", "k".repeat(1_024)), "1 to 128"),
            ("{team: 'a\u{202e}b'}", "at most 256"),
        ] {
            let error = with(tags);
            assert!(error.contains(text) && error.len() < 300 && !error.contains('\n'), "{error}");
        }
        assert!(hop_error(&format!("- {{roleArn: {ROLE}, externalId: \"a\\nb\"}}")).contains("2 to 1,224"));
    }

    #[test]
    fn only_what_keys_assume_may_last_longer_than_an_hour() {
        let given = format!("- {{roleArn: {ROLE}, durationSeconds: 43200}}");
        let keys = ("auth", "nodePublishSecret");
        let hops = parse_all(&[keys, ("assumeRoles", &given)]).expect("not chained").0.hops;
        assert_eq!(hops[0].duration, Some(Duration::from_secs(43_200)));
        assert!(parse_all(&[("assumeRoles", &given)]).is_err());
        let second = format!("- roleArn: {ROLE}\n{given}");
        assert!(parse_all(&[keys, ("assumeRoles", &second)]).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(- |[a-zA-Z:{}\\[\\]&*<>|'\", \\n0-9]|roleArn|sessionTags|\\PC){0,80}") {
            let _ = parse_all(&[("assumeRoles", &text), ("auth", &text)]);
        }
    }
}
