//! What must hold for every input. One function for each target; `tests/seeds` runs them too, on the seeds.

mod jwt;
mod volume;

pub use jwt::jwt;
pub use volume::volume_ops;

use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD as BASE64, URL_SAFE_NO_PAD as BASE64_URL};
use secretmount::clock::SystemClock;
use secretmount::config::Limits;
use secretmount::credentials::aws::{Endpoint, credentials_of_answer};
use secretmount::identity::KeySet;
use secretmount::lint;
use secretmount::lint::report::{self, Report};
use secretmount::mount::MountRequest;
use secretmount::plan::aws::{Arn, Item, Parameter, Region, Revision, RoleArn, Secret, Stored};
use secretmount::plan::{
    Content, Decoding, Expansion, FilePermission, Files, JmesPath, Object, Owner, PlannedFile, RelativePath,
};
use secretmount::reason::{Explained as _, is_final};
use secretmount::render::render;
use secretmount::secrets::aws::error_of_answer;
use secretmount::secrets::{Fetched, SecretValue};
use secretmount::spec::Parameters;
use secretmount::spec::aws::{Class, GRAMMAR};
use secretmount::volume::TargetPath;

/// The function of a target, by its name.
pub fn target(name: &str) -> Option<fn(&[u8])> {
    Some(match name {
        "agent_reply" => agent_reply,
        "arn_region" => arn_region,
        "assume_roles" => assume_roles,
        "attributes" => attributes,
        "aws_error" => aws_error,
        "check" => check,
        "decode" => decode,
        "jmespath" => jmespath,
        "json" => json,
        "json_expand" => json_expand,
        "jwks" => jwks,
        "jwt" => jwt,
        "objects_yaml" => objects_yaml,
        "path" => path,
        "pem" => pem,
        "template" => template,
        "volume_ops" => volume_ops,
        _ => return None,
    })
}

/// A manifest: every place is in it, what is shown is for people only, and no error of a mount is missed.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let lines: Vec<usize> = text.split('\n').map(|line| line.chars().count()).collect();
    let file = lint::check(text, &GRAMMAR);
    for found in file.all() {
        let characters = lines.get(found.line - 1).expect("a line of the file");
        assert!((1..=characters + 1).contains(&found.column) && found.length > 0, "{found:?}");
    }
    let report = Report { files: vec![("x".into(), file)] };
    for shown in [report::text(&report, false, false), report::json(&report), report::github(&report)] {
        assert!(shown.split('\n').all(|line| lint::printable(line).len() <= line.len()), "{shown:?}");
    }
    // As the text of `objects` of a class, it is refused where a mount refuses it.
    let parameters = Parameters::from([("objects".to_owned(), text.to_owned())]);
    let mount = Class::parse(&parameters, permission(), &Limits::DEFAULT);
    let class = serde_json::json!({
        "apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClass",
        "spec": {"provider": "aws", "parameters": parameters},
    });
    let file = lint::check(&class.to_string(), &GRAMMAR);
    assert!(file.classes.iter().all(|class| class.outcome.is_none() || mount.is_ok()));
    let report = Report { files: vec![("x".into(), file)] };
    assert!(mount.is_ok() || report.errors() > 0, "{:?}", mount.err());
}

/// A mount request: the permission on the first line, then the attributes.
pub fn attributes(input: &[u8]) {
    const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";
    let Some((permission, attributes)) = two_parts(input) else { return };
    let Ok(request) = MountRequest::parse(attributes, "", permission, String::new()) else { return };

    let pod = &request.pod;
    assert!([&pod.namespace, &pod.name, &pod.uid, &pod.service_account].iter().all(|text| !text.is_empty()));
    assert!(request.default_permission.mode() <= 0o777);
    assert!(!request.parameters.keys().any(|name| name.starts_with("csi.storage.k8s.io/")));
    let read: serde_json::Value = serde_json::from_str(attributes).expect("it was just read");
    let tokens = read[TOKENS].as_str().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    for (audience, issued) in tokens.as_ref().and_then(serde_json::Value::as_object).into_iter().flatten() {
        let (_, token) = request.token(std::slice::from_ref(audience)).expect("there is one for every audience");
        assert_eq!(Some(token.expose()), field(issued, "token").and_then(serde_json::Value::as_str));
    }
}

/// An answer of the EKS Pod Identity agent.
pub fn agent_reply(input: &[u8]) {
    if let Some(credentials) = credentials_of_answer(input) {
        let texts = [credentials.access_key_id(), credentials.secret_access_key()];
        let texts = texts.into_iter().chain(credentials.session_token());
        assert!(texts.into_iter().all(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())));
        assert!(credentials.expiry().is_some());
    }
}

/// An answer of AWS: the HTTP status on the first line, then the body. What a person is told of an error is one short line with
/// a final code, and holds no token.
pub fn aws_error(input: &[u8]) {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let status = std::str::from_utf8(&input[..end]).ok().and_then(|text| text.parse().ok());
    let Some(error) = status.and_then(|status| error_of_answer(status, &input[end + 1..])) else { return };
    let text = error.to_string();
    assert!(is_final(error.reason().code()) && text.len() <= 900, "{} bytes: {text}", text.len());
    assert!(!text.contains("eyJ") && !text.contains('\n'), "{text}");
}

/// A Region, a role, the name of a parameter, and an address of the agent.
pub fn arn_region(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(region) = text.parse::<Region>() {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!(region.as_str().len() <= 32 && region.as_str().bytes().all(is_plain), "{region}");
    }
    if let Ok(role) = text.parse::<RoleArn>() {
        let arn = Arn::parse(role.as_str()).expect("it was just parsed");
        assert!(arn.service == "iam" && arn.region.is_empty() && arn.account.len() == 12, "{role}");
    }
    assert_eq!(Parameter::parse(text).asked(), text);
    if let Ok(endpoint) = text.parse::<Endpoint>() {
        let is_http = text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http:"));
        assert!(is_http && !text.contains('#'), "{endpoint:?}");
    }
}

/// A class: `pathTranslation` on the first line, then `objects`. With and without a failover Region.
pub fn objects_yaml(input: &[u8]) {
    let Some((translation, objects)) = two_parts(input) else { return };
    for failover in ["", "eu-central-1"] {
        let parameters = [("objects", objects), ("pathTranslation", translation), ("failoverRegion", failover)];
        let parameters: Parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        objects_of(&parameters, failover);
    }
}

fn objects_of(parameters: &Parameters, failover: &str) {
    let limits = Limits::DEFAULT;
    let Ok(class) = Class::parse(parameters, permission(), &limits) else { return };
    let Ok(plan) = class.plan(&region()) else { return };

    for object in &plan.objects {
        assert_eq!(object.standby.as_ref().map_or("", |standby| standby.region.as_str()), failover);
        assert_ne!(object.address.region.as_str(), failover);
        for Stored { region, item } in object.addresses().map(|address| &**address) {
            let (Item::Secret(Secret { id: name, .. }) | Item::Parameter(Parameter { name, .. })) = item else {
                continue;
            };
            // Whoever asks in another Region than an ARN's would be asked by the wrong host.
            assert!(Arn::parse(name).is_none_or(|arn| arn.region == region.as_str()), "{name} in {region}");
        }
    }
    // What a value of the store will name is counted and compared when it is there.
    let of_class = || plan.objects.iter().filter(|object| !object.is_unfolded);
    assert!((1..=limits.max_objects).contains(&of_class().count()));
    let files: Vec<&PlannedFile> = of_class().flat_map(|object| &object.files).collect();
    assert!(files.len() <= limits.max_files);
    for file in &files {
        assert_stays_below(&file.path);
        assert!(file.permission.mode() <= 0o777);
    }
    let mut paths: Vec<&RelativePath> = files.iter().map(|file| &file.path).collect();
    // By elements, so that what is below a path comes right after it.
    paths.sort_by_key(|path| path.elements().collect::<Vec<_>>());
    for pair in paths.windows(2) {
        assert!(!pair[0].is_parent_of(pair[1]), "{} would have to be a directory and a file", pair[0]);
    }
}

/// A chain of roles. Whatever is accepted is what STS takes, and says nothing of who a pod is.
pub fn assume_roles(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let objects = "- {objectName: a, objectType: secretsmanager}";
    for auth in ["irsa", "podIdentity", "nodePublishSecret"] {
        let parameters = [("objects", objects), ("assumeRoles", text), ("auth", auth)];
        let parameters: Parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let Ok(class) = Class::parse(&parameters, permission(), &Limits::DEFAULT) else { return };
        let hops = &class.authentication().hops;
        assert!(hops.len() <= 8);
        for (hop, number) in hops.iter().zip(1..) {
            let is_one_line = |text: &String| !text.chars().any(char::is_control);
            assert!(hop.external_id.iter().all(|id| id.is_ascii() && is_one_line(id) && id.len() <= 1_224));
            assert!(hop.session_tags.len() <= 50 && hop.session_tags.iter().flat_map(|(k, v)| [k, v]).all(is_one_line));
            for key in hop.session_tags.keys().map(|key| key.to_lowercase()) {
                assert!(!["kubernetes-", "eks-", "aws:"].iter().any(|reserved| key.starts_with(reserved)), "{key}");
            }
            assert!(hop.transitive_tag_keys.iter().all(|key| hop.session_tags.contains_key(key)));
            let longest = if number == 1 && auth == "nodePublishSecret" { 43_200 } else { 3_600 };
            assert!(hop.duration.is_none_or(|duration| (900..=longest).contains(&duration.as_secs())));
        }
    }
}

/// An expression on the first line, then the JSON that it selects from.
pub fn jmespath(input: &[u8]) {
    let Some((expression, document)) = two_parts(input) else { return };
    let Ok(expression) = expression.parse::<JmesPath>() else { return };
    let _ = pick(expression, document);
}

/// A JSON value: what is picked out of it says the same, with its numbers spelled as they were.
pub fn json(input: &[u8]) {
    let Ok(document) = std::str::from_utf8(input) else { return };
    let Some(picked) = pick("@".parse().expect("it is an expression"), document) else { return };
    let document = document.strip_prefix('\u{feff}').unwrap_or(document);
    let read: serde_json::Value = serde_json::from_str(document).expect("what was picked from is JSON");
    match read {
        // A text is picked as it is.
        serde_json::Value::String(text) => assert_eq!(text, picked),
        read => {
            assert_eq!(serde_json::from_str::<serde_json::Value>(&picked).expect("what was picked is JSON"), read);
            let mut spelled = numbers(document);
            for number in numbers(&picked) {
                let place = spelled.iter().position(|there| *there == number);
                spelled.swap_remove(place.unwrap_or_else(|| panic!("{number} is not spelled so in the document")));
            }
        }
    }
}

/// What `expandJson` says, newline, a JSON secret.
pub fn json_expand(input: &[u8]) {
    let Some((selection, document)) = two_parts(input) else { return };
    let Some(object) = object_of(&format!("extractOnly: true, expandJson: {selection}")) else { return };
    let is_plain = |expansion: &Expansion| expansion.decoding == Decoding::None;
    if !object.files.is_empty() || !object.expansion.as_ref().is_some_and(is_plain) {
        return; // it says more than expandJson
    }
    let Some(files) = files_of(object, document.as_bytes()) else { return };
    let document = document.strip_prefix('\u{feff}').unwrap_or(document);
    let read: serde_json::Value = serde_json::from_str(document).expect("what was expanded is JSON");
    let mut members: Vec<&serde_json::Value> = read.as_object().expect("it has keys").values().collect();
    let spelled = numbers(document);
    for (path, file) in &files {
        assert_stays_below(path);
        let content = std::str::from_utf8(file.content.expose()).expect("JSON is text");
        let is_of = |member: &&serde_json::Value| match member {
            serde_json::Value::Null => false,
            serde_json::Value::String(text) => text == content,
            serde_json::Value::Number(_) => spelled.iter().any(|number| number == content),
            other => serde_json::from_str::<serde_json::Value>(content).is_ok_and(|content| content == **other),
        };
        let place = members.iter().position(is_of);
        members.swap_remove(place.unwrap_or_else(|| panic!("{path} is of no key")));
    }
}

/// A format, newline, a JSON secret of texts; or content with values, where it has any, a line of dashes, a JSON secret.
pub fn template(input: &[u8]) {
    if let Some((content, document)) = std::str::from_utf8(input).ok().and_then(|text| text.split_once("\n---\n")) {
        return content_of(content, document);
    }
    let Some((format, document)) = two_parts(input) else { return };
    if !format.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return; // it says more than a format
    }
    let objects =
        "[{objectName: a, objectType: secretsmanager, extractOnly: true, templateOnly: true, expandJson: true}]";
    let templates = format!("[{{path: made, format: {format}}}]");
    let parameters = [("objects", objects), ("templates", &templates), ("pathTranslation", "False")];
    let parameters: Parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let Ok(class) = Class::parse(&parameters, permission(), &Limits::DEFAULT) else { return };
    let plan = class.plan(&region()).expect("it has no Regions that contradict");
    let value = SecretValue { content: document.to_owned().into(), version: "1".into(), source: None };
    let fetched = Fetched { address: plan.objects[0].address.clone(), value: value.into() };
    let Ok(rendered) = render(&[(&plan.objects[0], &fetched)], true, &plan.templates, &Limits::DEFAULT, &SystemClock)
    else {
        return;
    };

    let made = rendered.files.values().next().expect("the template's").content.expose();
    let made = std::str::from_utf8(made).expect("texts make a text");
    assert_eq!(rendered.files.len(), 1);
    let document = document.strip_prefix('\u{feff}').unwrap_or(document);
    // Of numbers and the like it has the spelling, which `json_expand` looks at. Names lose slashes at their beginning.
    let Ok(secret) = serde_json::from_str::<BTreeMap<String, Option<String>>>(document) else { return };
    let secret: BTreeMap<String, String> = secret.into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
    if secret.keys().any(|name| name.starts_with('/')) {
        return;
    }
    let read: BTreeMap<String, String> = match format.to_ascii_lowercase().as_str() {
        "json" => serde_json::from_str(made).expect(made),
        "toml" => toml::from_str(made).expect(made),
        // Its reader has limits that a secret of all keys goes over.
        "yaml" if secret.len() < 100 => serde_yaml::from_str(made).expect(made),
        "dotenv" => variables(made),
        _ => return,
    };
    assert_eq!(read, secret);
}

/// What is made of content has no more than a file may have, and stands for the same each time. Where it does not parse, nothing
/// of the secret is needed to say so.
fn content_of(content: &str, document: &str) {
    let objects = "[{objectName: a, objectType: secretsmanager, extractOnly: true, templateOnly: true, expandJson: true}, \
        {objectName: b, objectType: secretsmanager, objectAlias: whole, templateOnly: true}]";
    // JSON is YAML, and its quotes keep every character.
    let templates = serde_json::json!([{ "path": "made", "content": content }]).to_string();
    let parameters = [("objects", objects), ("templates", &templates), ("pathTranslation", "False")];
    let parameters: Parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let Ok(class) = Class::parse(&parameters, permission(), &Limits::DEFAULT) else { return };
    let plan = class.plan(&region()).expect("it has no Regions that contradict");
    let value = SecretValue { content: document.to_owned().into(), version: "1".into(), source: None };
    let limits = Limits { max_value_bytes: 10_000, ..Limits::DEFAULT };
    let fetched: Vec<Fetched<Arc<Stored>>> = plan
        .objects
        .iter()
        .map(|object| Fetched { address: object.address.clone(), value: value.clone().into() })
        .collect();
    let objects: Vec<_> = plan.objects.iter().zip(&fetched).collect();
    let made = || {
        let rendered = render(&objects, true, &plan.templates, &limits, &SystemClock);
        rendered.map(|rendered| rendered.files.into_values().next().expect("the template's"))
    };
    match (made(), made()) {
        (Ok(first), Ok(second)) => {
            assert!(first == second && first.content.len() <= limits.max_value_bytes);
            std::str::from_utf8(first.content.expose()).expect("texts make a text");
            if !["[[", "[%", "[#"].iter().any(|tag| content.contains(tag)) {
                assert_eq!(first.content.expose(), content.as_bytes());
            }
        }
        (Err(first), Err(second)) => {
            let text = first.to_string();
            assert!(text == second.to_string() && text.len() <= 900, "{text}");
        }
        _ => panic!("once it is made, and once it is not"),
    }
}

/// What a shell makes of a file in which nothing is expanded.
fn variables(mut rest: &str) -> BTreeMap<String, String> {
    let mut read = BTreeMap::new();
    while let Some((name, behind)) = rest.split_once('=') {
        let quote = behind.chars().next().filter(|first| matches!(first, '\'' | '"'));
        let (text, behind) = match quote {
            Some(quote) => behind[1..].split_once(quote).expect("the quotes are closed"),
            None => behind.split_at(behind.find('\n').expect("the line ends")),
        };
        assert!(quote != Some('"') || !text.contains(['\\', '$', '`']), "a shell would look into {text:?}");
        read.insert(name.to_owned(), text.to_owned());
        rest = behind.strip_prefix('\n').expect("the line ends behind the quotes");
    }
    assert_eq!(rest, "");
    read
}

/// An encoding, newline, a value.
pub fn decode(input: &[u8]) {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (encoding, value) = (&input[..end], &input[end + 1..]);
    let Ok(encoding) = std::str::from_utf8(encoding) else { return };
    let Some(object) = object_of(&format!("decode: {encoding}")) else { return };
    let [PlannedFile { content: Content::Whole, decoding, .. }] = object.files[..] else { return };
    if object.expansion.is_some() {
        return;
    }
    let Some(files) = files_of(object, value) else { return };
    let decoded = files.values().next().expect("the object has a file").content.expose().to_vec();
    let dense: Vec<u8> = value.iter().filter(|byte| !byte.is_ascii_whitespace()).copied().collect();
    let digits = dense.len() - dense.iter().rev().take_while(|byte| **byte == b'=').count();
    let encoded = match decoding {
        Decoding::Base64 => BASE64.encode(&decoded),
        Decoding::Base64Url => BASE64_URL.encode(&decoded),
        Decoding::Hex => {
            let hex: String = decoded.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex.as_bytes(), dense.to_ascii_lowercase());
            return;
        }
        Decoding::None | Decoding::Auto => return,
    };
    // Bits of the last character that belong to no byte are not looked at.
    let same = digits.saturating_sub(1);
    assert_eq!(encoded.len(), digits);
    assert_eq!(encoded.as_bytes()[..same], dense[..same]);
}

/// A key set.
pub fn jwks(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Some(keys) = KeySet::parse(text) else { return };
    let read: serde_json::Value = serde_json::from_str(text).expect("a key set is JSON");
    let there = field(&read, "keys").and_then(serde_json::Value::as_array).expect("a key set has keys");
    assert!(keys.len() <= there.len());
}

/// A key and certificates: once they are in order, they stay as they are.
pub fn pem(input: &[u8]) {
    for part in ["bundle", "key", "fullChain"] {
        let made = |input: &[u8]| {
            let object = object_of(&format!("extractOnly: true, pem: {{{part}: made}}")).expect("it is an object");
            let file = files_of(object, input)?.into_values().next().expect("the object has a file");
            Some(file.content.expose().to_vec())
        };
        let Some(once) = made(input) else { return };
        let text = std::str::from_utf8(&once).expect("PEM is text");
        assert!(text.starts_with("-----BEGIN ") && text.ends_with("-----\n"), "{text}");
        // Without the key another certificate may be the leaf.
        assert!(part == "fullChain" || made(&once).as_deref() == Some(&*once), "{text}");
        let checked = object_of("verify: {pem: true}").expect("it is an object");
        assert!(files_of(checked, &once).is_some(), "{text}");
    }
}

/// A file name in a volume, and the path of a volume.
pub fn path(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(path) = text.parse::<RelativePath>() {
        assert_eq!(path.as_str(), text);
        assert_stays_below(&path);
        assert!(!path.is_parent_of(&path));
    }
    if let Ok(target) = TargetPath::parse(text, "uid") {
        assert!(text.starts_with('/') && !Path::new(text).components().any(|part| part == Component::ParentDir));
        assert!(!matches!(target.volume(), "" | "." | "..") && !target.volume().contains('/'));
    }
}

/// The first line and what comes after it, where both are UTF-8.
fn two_parts(input: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(input).ok()?.split_once('\n')
}

/// The field of an object that has only one. Its fields may also be written as a list, without their names.
fn field<'a>(object: &'a serde_json::Value, name: &str) -> Option<&'a serde_json::Value> {
    object.get(name).or_else(|| object.get(0))
}

fn permission() -> FilePermission {
    FilePermission::from_mode(0o644).0
}

fn region() -> Region {
    "eu-west-1".parse().expect("it is a Region")
}

#[track_caller]
fn assert_stays_below(path: &RelativePath) {
    let parts: Vec<Component<'_>> = Path::new(path.as_str()).components().collect();
    assert!(parts.iter().all(|part| matches!(part, Component::Normal(_))), "{path}");
    assert_eq!(parts.len(), path.elements().count(), "{path}");
    assert!(!path.top().starts_with(".."), "{path}");
}

/// The object of a class that has one, with more keys in it.
fn object_of(keys: &str) -> Option<Object<Arc<Stored>>> {
    let objects = format!("- {{objectName: a, objectType: secretsmanager, {keys}}}");
    let parameters = Parameters::from([("objects".to_owned(), objects)]);
    let plan = Class::parse(&parameters, permission(), &Limits::DEFAULT).ok()?.plan(&region()).ok()?;
    let [object] = <[_; 1]>::try_from(plan.objects).ok()?;
    Some(object)
}

fn files_of(object: Object<Arc<Stored>>, value: &[u8]) -> Option<Files> {
    let value = SecretValue { content: value.to_vec().into(), version: "1".into(), source: None };
    let fetched = Fetched { address: object.address.clone(), value: value.into() };
    Some(render(&[(&object, &fetched)], true, &[], &Limits::DEFAULT, &SystemClock).ok()?.files)
}

/// Renders a plan of one file.
fn pick(expression: JmesPath, document: &str) -> Option<String> {
    let limits = Limits::DEFAULT;
    let secret = Secret { id: "shop/db".into(), revision: Revision::Stage(Revision::CURRENT.into()) };
    let address = Arc::new(Stored { region: region(), item: Item::Secret(secret) });
    let path: RelativePath = "picked".parse().expect("it is a file name");
    let file = PlannedFile {
        path: path.clone(),
        permission: permission(),
        owner: Owner::default(),
        content: Content::JmesPath(expression),
        decoding: Decoding::None,
    };
    let object = Object { files: vec![file], ..Object::at(address, 1) };
    let mut files = files_of(object, document.as_bytes())?;
    let content = files.remove(&path).expect("the planned file is there").content;
    assert!(content.len() <= limits.max_value_bytes);
    Some(String::from_utf8(content.expose().to_vec()).expect("JSON is text"))
}

/// The numbers of a JSON text, character by character.
fn numbers(text: &str) -> Vec<String> {
    let mut numbers = Vec::new();
    let mut number = String::new();
    let (mut in_text, mut escaped) = (false, false);
    for c in text.chars() {
        if in_text {
            (in_text, escaped) = (escaped || c != '"', !escaped && c == '\\');
            continue;
        }
        // The letters of true, false and null come before any digit, so they start no number.
        match c {
            '-' | '0'..='9' => number.push(c),
            '+' | '.' | 'e' | 'E' if !number.is_empty() => number.push(c),
            _ => {
                in_text = c == '"';
                numbers.extend((!number.is_empty()).then(|| std::mem::take(&mut number)));
            }
        }
    }
    numbers.extend((!number.is_empty()).then_some(number));
    numbers
}
