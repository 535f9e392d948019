//! Security Token Service: turns tokens and sessions into keys, if the role's trust policy agrees.
//!
//! Policies passed along with a call are not looked at.

use std::collections::BTreeMap;

use crate::encoding::{self, xml_escape};
use crate::error::AwsError;
use crate::exchange::{Answer, Asked};
use crate::iam::{Keys, NewSession, Role, RoleArn, Trust};
use crate::lock::lock;
use crate::oidc::{Jwt, Unverified};
use crate::sigv4::{self, Caller, Refused};
use crate::state::{Aws, Shared};

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// A request's form. GET requests carry it in the query.
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    pub fn of(asked: &Asked) -> Self {
        let mut pairs = encoding::form(&asked.query);
        let form = asked.header("content-type");
        if form.starts_with("application/x-www-form-urlencoded") {
            pairs.extend(encoding::form(&String::from_utf8_lossy(&asked.body)));
        }
        Self(pairs)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }

    fn need(&self, name: &str) -> Result<&str, AwsError> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| invalid("null", name, "Member must not be null"))
    }

    /// `Name.member.1`, `Name.member.2` and so on, each with what follows the number.
    fn members(&self, name: &str, field: &str) -> Vec<&str> {
        (1..).map_while(|number| self.get(&format!("{name}.member.{number}{field}"))).collect()
    }
}

pub(crate) fn answer(shared: &Shared, asked: &Asked, operation: &str) -> Result<Answer, AwsError> {
    let form = Form::of(asked);
    let mut aws = lock(&shared.aws);
    let result = match operation {
        "AssumeRoleWithWebIdentity" => assume_with_web_identity(shared, &mut aws, &form)?,
        "AssumeRole" => {
            let caller = signed(&aws, asked)?;
            assume(&mut aws, &caller, &form)?
        }
        "GetCallerIdentity" => {
            let principal = signed(&aws, asked)?.principal;
            format!(
                "<Arn>{}</Arn><UserId>{}</UserId><Account>{}</Account>",
                xml_escape(&principal.arn),
                xml_escape(&principal.user_id),
                principal.account
            )
        }
        other => {
            let text = format!("Could not find operation {other} for version 2011-06-15");
            return Err(AwsError::bad("InvalidAction", text));
        }
    };
    let request = encoding::uuid();
    let document = format!(
        "<{operation}Response xmlns=\"{NAMESPACE}\"><{operation}Result>{result}</{operation}Result>\
         <ResponseMetadata><RequestId>{request}</RequestId></ResponseMetadata></{operation}Response>"
    );
    Ok(Answer::new(200, "text/xml", document).with_header("x-amzn-requestid", request))
}

pub(crate) fn error_document(status: u16, code: &str, message: &str, request: &str) -> String {
    let side = if status < 500 { "Sender" } else { "Receiver" };
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{side}</Type><Code>{}</Code>\
         <Message>{}</Message></Error><RequestId>{request}</RequestId></ErrorResponse>",
        xml_escape(code),
        xml_escape(message)
    )
}

fn signed(aws: &Aws, asked: &Asked) -> Result<Caller, AwsError> {
    sigv4::authenticate(&aws.iam, asked, "sts").map_err(|refused| match refused {
        Refused::Missing => AwsError::new(403, "MissingAuthenticationToken", "Request is missing Authentication Token"),
        Refused::Incomplete(text) => AwsError::bad("IncompleteSignature", text),
        Refused::UnknownKey => {
            AwsError::new(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        }
        Refused::ExpiredKey => {
            AwsError::new(403, "ExpiredToken", "The security token included in the request is expired")
        }
        Refused::Wrong(text) => AwsError::new(403, "SignatureDoesNotMatch", text),
    })
}

fn assume_with_web_identity(shared: &Shared, aws: &mut Aws, form: &Form) -> Result<String, AwsError> {
    let (role_arn, name) = (role_arn(form)?, session_name(form)?);
    let token = form.need("WebIdentityToken")?;
    let seconds = duration(form)?;
    let jwt = Jwt::parse(token).ok_or_else(|| {
        refused_token("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
    })?;
    let audience = check_token(shared, aws, &jwt)?;

    let issuer = jwt.text("iss");
    let role =
        aws.iam.role(role_arn).filter(|role| trusts_token(role, &shared.issuer, &jwt)).ok_or_else(|| {
            AwsError::new(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
        })?;
    check_limit(role, seconds)?;
    let provider = RoleArn::parse(role_arn).map_or(String::new(), |role| {
        let host = issuer.strip_prefix("https://").unwrap_or(issuer);
        format!("arn:{}:iam::{}:oidc-provider/{host}", role.partition, role.account)
    });
    let session = NewSession { name: name.into(), seconds, ..NewSession::default() };
    let keys = aws.iam.open_session(role_arn, session).ok_or_else(gone)?;
    Ok(format!(
        "<Audience>{}</Audience>{}<Provider>{}</Provider>\
         <SubjectFromWebIdentityToken>{}</SubjectFromWebIdentityToken>",
        xml_escape(&audience),
        handed_out(&keys),
        xml_escape(&provider),
        xml_escape(jwt.text("sub"))
    ))
}

/// Signature, times and audience, against the provider of the token's issuer. Gives the audience that counts.
fn check_token(shared: &Shared, aws: &Aws, jwt: &Jwt<'_>) -> Result<String, AwsError> {
    let issuer = jwt.text("iss");
    let provider = aws
        .providers
        .get(issuer)
        .ok_or_else(|| refused_token(format!("No OpenIDConnect provider found in your account for {issuer}")))?;
    let keys = match &provider.keys {
        Some(keys) => keys.clone(),
        None => lock(&shared.cluster).keyring.jwks(),
    };
    jwt.verify(&keys).map_err(|unverified| match unverified {
        Unverified::NoSuchKey => refused_token(
            "Couldn't retrieve verification key from your identity provider,  please reference \
             AssumeRoleWithWebIdentity documentation for requirements",
        ),
        Unverified::WrongSignature => refused_token("The signature of the ID Token is not valid"),
    })?;
    let now = encoding::now();
    let expires = jwt.time("exp").ok_or_else(|| refused_token("Missing a required claim: exp"))?;
    if expires <= now {
        let text = format!("Token expired: current date/time {now} must be before the expiration date/time {expires}");
        return Err(AwsError::bad("ExpiredTokenException", text));
    }
    if jwt.time("nbf").is_some_and(|start| start > now) {
        return Err(refused_token("The ID Token is not valid yet"));
    }
    if jwt.text("sub").is_empty() {
        return Err(refused_token("Missing a required claim: sub"));
    }
    let audience =
        jwt.audiences().into_iter().find(|audience| provider.audiences.iter().any(|known| known == audience));
    match audience {
        Some(audience) => Ok(audience.to_owned()),
        None => Err(refused_token("Incorrect token audience")),
    }
}

fn trusts_token(role: &Role, own_issuer: &str, jwt: &Jwt<'_>) -> bool {
    role.trust.iter().any(|trust| match trust {
        Trust::WebIdentity { issuer, subject, audience } => {
            jwt.text("iss") == issuer.as_deref().unwrap_or(own_issuer)
                && crate::iam::matches(subject, jwt.text("sub"))
                && jwt.audiences().contains(&audience.as_str())
        }
        Trust::Role { .. } | Trust::PodIdentity => false,
    })
}

fn assume(aws: &mut Aws, caller: &Caller, form: &Form) -> Result<String, AwsError> {
    let (role_arn, name) = (role_arn(form)?, session_name(form)?);
    let seconds = duration(form)?;
    let principal = &caller.principal;
    let denied = || {
        AwsError::new(
            403,
            "AccessDenied",
            format!("User: {} is not authorized to perform: sts:AssumeRole on resource: {role_arn}", principal.arn),
        )
    };
    let role = aws.iam.role(role_arn).ok_or_else(denied)?;
    let external_id = form.get("ExternalId");
    let trusted = role.trust.iter().any(|trust| match trust {
        Trust::Role { arn, external_id: wanted } => {
            arn == principal.role_or_own_arn() && wanted.as_deref().is_none_or(|wanted| external_id == Some(wanted))
        }
        Trust::WebIdentity { .. } | Trust::PodIdentity => false,
    });
    // Inside one account a trust policy that names the role is enough; across accounts both sides must agree.
    let foreign = RoleArn::parse(role_arn).is_none_or(|role| role.account != principal.account);
    let own_account_admin = principal.role.is_none() && !foreign;
    let may = !foreign || aws.iam.allows(principal, "sts:AssumeRole", role_arn, None);
    if !(trusted && may || own_account_admin) {
        return Err(denied());
    }
    if principal.role.is_some() && seconds > 3600 {
        let text = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining";
        return Err(AwsError::bad("ValidationError", text));
    }
    check_limit(role, seconds)?;
    let session = NewSession { name: name.into(), seconds, ..tags(caller, form)? };
    let keys = aws.iam.open_session(role_arn, session).ok_or_else(gone)?;
    Ok(handed_out(&keys) + "<PackedPolicySize>0</PackedPolicySize>")
}

/// The tags of the call, with the transitive ones of the calling session, which nobody can change.
fn tags(caller: &Caller, form: &Form) -> Result<NewSession, AwsError> {
    let principal = &caller.principal;
    let inherited = &principal.transitive_tag_keys;
    let mut tags: BTreeMap<String, String> = principal
        .tags
        .iter()
        .filter(|(key, _)| inherited.contains(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let (keys, values) = (form.members("Tags", ".Key"), form.members("Tags", ".Value"));
    if keys.len() != values.len() || keys.len() > 50 {
        let constraint = "Member must have length less than or equal to 50";
        return Err(invalid(&keys.len().to_string(), "Tags", constraint));
    }
    for (key, value) in keys.into_iter().zip(values) {
        let length = key.chars().count();
        if !(1..=128).contains(&length) || value.chars().count() > 256 {
            let constraint = "Member must have length less than or equal to 128";
            return Err(invalid(key, "Tags", constraint));
        }
        let known = inherited.iter().any(|own| own.eq_ignore_ascii_case(key));
        if known {
            let text = "One of the specified transitive tag keys can't be set because it conflicts with a \
                        transitive tag key from the calling session.";
            return Err(AwsError::bad("InvalidParameterValue", text));
        }
        if tags.keys().any(|own| own.eq_ignore_ascii_case(key)) {
            let text = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(AwsError::bad("InvalidParameterValue", text));
        }
        tags.insert(key.to_owned(), value.to_owned());
    }
    let mut transitive_tag_keys = inherited.clone();
    for key in form.members("TransitiveTagKeys", "") {
        if !tags.contains_key(key) {
            let text = "The specified transitive tag key must be included in the requested tags.";
            return Err(AwsError::bad("InvalidParameterValue", text));
        }
        transitive_tag_keys.push(key.to_owned());
    }
    Ok(NewSession { tags, transitive_tag_keys, ..NewSession::default() })
}

fn handed_out(keys: &Keys) -> String {
    format!(
        "<AssumedRoleUser><AssumedRoleId>{}</AssumedRoleId><Arn>{}</Arn></AssumedRoleUser><Credentials>\
         <AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey>\
         <SessionToken>{}</SessionToken><Expiration>{}</Expiration></Credentials>",
        xml_escape(&keys.principal.user_id),
        xml_escape(&keys.principal.arn),
        keys.access_key_id,
        keys.secret,
        keys.token.as_deref().unwrap_or_default(),
        encoding::rfc3339(keys.expires.unwrap_or_default())
    )
}

fn role_arn(form: &Form) -> Result<&str, AwsError> {
    let arn = form.need("RoleArn")?;
    match arn.len() {
        0..20 => Err(invalid(arn, "RoleArn", "Member must have length greater than or equal to 20")),
        _ if RoleArn::parse(arn).is_none() => Err(AwsError::bad("ValidationError", format!("{arn} is invalid"))),
        _ => Ok(arn),
    }
}

fn session_name(form: &Form) -> Result<&str, AwsError> {
    let name = form.need("RoleSessionName")?;
    let sound = |character: char| character.is_ascii_alphanumeric() || "_+=,.@-".contains(character);
    if !name.chars().all(sound) {
        let constraint = "Member must satisfy regular expression pattern: [\\w+=,.@-]*";
        return Err(invalid(name, "RoleSessionName", constraint));
    }
    match name.len() {
        2..=64 => Ok(name),
        0..2 => Err(invalid(name, "RoleSessionName", "Member must have length greater than or equal to 2")),
        _ => Err(invalid(name, "RoleSessionName", "Member must have length less than or equal to 64")),
    }
}

fn duration(form: &Form) -> Result<i64, AwsError> {
    let raw = form.get("DurationSeconds").unwrap_or("3600");
    match raw.parse() {
        Ok(seconds @ 900..=43200) => Ok(seconds),
        Ok(..900) => Err(invalid(raw, "DurationSeconds", "Member must have value greater than or equal to 900")),
        Ok(_) => Err(invalid(raw, "DurationSeconds", "Member must have value less than or equal to 43200")),
        Err(_) => Err(AwsError::bad("MalformedInput", "DurationSeconds is no number")),
    }
}

fn check_limit(role: &Role, seconds: i64) -> Result<(), AwsError> {
    if u64::try_from(seconds).is_ok_and(|seconds| seconds <= role.max_session.as_secs()) {
        return Ok(());
    }
    let text = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
    Err(AwsError::bad("ValidationError", text))
}

/// The text of AWS's checks on single fields, which write the field with a small first letter.
fn invalid(value: &str, field: &str, constraint: &str) -> AwsError {
    let mut field = field.to_owned();
    if let Some(first) = field.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    let value = match value {
        "null" => "Value null".to_owned(),
        value => format!("Value '{value}'"),
    };
    let text = format!("1 validation error detected: {value} at '{field}' failed to satisfy constraint: {constraint}");
    AwsError::bad("ValidationError", text)
}

fn refused_token(why: impl Into<String>) -> AwsError {
    AwsError::bad("InvalidIdentityToken", why)
}

fn gone() -> AwsError {
    AwsError::new(500, "InternalFailure", "The role is gone")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use crate::token::{self, Subject, TokenOptions};
    use http::{HeaderMap, HeaderValue, Method};

    const ROLE: &str = "arn:aws:iam::111122223333:role/web";
    const FOREIGN: &str = "arn:aws:iam::444455556666:role/target";

    struct Bench {
        shared: Shared,
        subject: Subject,
    }

    impl Bench {
        fn with(role: Role) -> Self {
            let shared = Shared::new(&Options::default());
            let pod = lock(&shared.cluster).put_pod("shop", "web-1", "web", "node-a");
            lock(&shared.aws).iam.put_role(role);
            let subject = Subject::from(&pod);
            Self { shared, subject }
        }

        fn token(&self, options: &TokenOptions) -> String {
            let cluster = lock(&self.shared.cluster);
            let token = token::issue(&cluster.keyring, &self.shared.issuer, &self.subject, options);
            token.as_str().to_owned()
        }

        /// The document, or the code of the refusal.
        fn call(&self, operation: &str, form: &[(&str, &str)], signed_by: Option<&Keys>) -> String {
            let body = form
                .iter()
                .map(|(name, value)| format!("{name}={}", encoding::url_encode(value, false)))
                .collect::<Vec<_>>()
                .join("&");
            let mut headers = HeaderMap::new();
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
            headers.insert("content-type", kind);
            let mut asked = Asked {
                method: Method::POST,
                path: "/".into(),
                query: String::new(),
                headers,
                body: format!("Action={operation}&{body}").into(),
            };
            if let Some(keys) = signed_by {
                let token = keys.token.as_deref().unwrap_or_default();
                let token = HeaderValue::from_str(token).expect("plain text");
                asked.headers.insert("x-amz-security-token", token);
                let (id, secret) = (&keys.access_key_id, &keys.secret);
                sigv4::sign_for_test(id, secret, "eu-west-1", "sts", &mut asked);
            }
            match answer(&self.shared, &asked, operation) {
                Ok(answer) => String::from_utf8(answer.body).expect("text"),
                Err(error) => error.code.into_owned(),
            }
        }

        fn assume_with(&self, options: &TokenOptions) -> String {
            let token = self.token(options);
            let form = [("RoleArn", ROLE), ("RoleSessionName", "session"), ("WebIdentityToken", token.as_str())];
            self.call("AssumeRoleWithWebIdentity", &form, None)
        }

        fn session(&self) -> Keys {
            let session = NewSession { name: "session".into(), seconds: 900, ..NewSession::default() };
            let mut aws = lock(&self.shared.aws);
            aws.iam.open_session(ROLE, session).expect("the role")
        }
    }

    #[test]
    fn a_token_is_taken_only_as_the_trust_policy_says() {
        let bench = Bench::with(Role::new(ROLE).trust_service_account("shop", "web"));
        let sts = || TokenOptions::audience("sts.amazonaws.com");
        assert!(bench.assume_with(&sts()).contains("<SessionToken>"));
        let other = sts().subject("system:serviceaccount:shop:web2");
        for (options, code) in [
            (other, "AccessDenied"),
            (sts().forged(), "InvalidIdentityToken"),
            (sts().algorithm("none"), "InvalidIdentityToken"),
            (sts().algorithm("HS256"), "InvalidIdentityToken"),
            (sts().kid("unknown"), "InvalidIdentityToken"),
            (sts().issuer("https://elsewhere"), "InvalidIdentityToken"),
            (sts().not_before_in(60), "InvalidIdentityToken"),
            (sts().expires_in(-1), "ExpiredTokenException"),
            (sts().claim("exp", serde_json::Value::Null), "InvalidIdentityToken"),
            (TokenOptions::audience("other"), "InvalidIdentityToken"),
        ] {
            assert_eq!(bench.assume_with(&options), code, "{options:?}");
        }
    }

    #[test]
    fn the_audience_of_the_trust_policy_counts_beside_that_of_the_provider() {
        let trust =
            Trust::WebIdentity { issuer: None, subject: "system:serviceaccount:*".into(), audience: "special".into() };
        let bench = Bench::with(Role::new(ROLE).trust(trust));
        let mut options = TokenOptions::audience("sts.amazonaws.com");
        assert_eq!(bench.assume_with(&options), "AccessDenied");
        options.audiences.push("special".into());
        assert!(bench.assume_with(&options).contains("<Credentials>"));
    }

    #[test]
    fn a_chain_across_accounts_needs_both_sides() {
        let bench = Bench::with(Role::new(ROLE));
        let target = Role::new(FOREIGN).trust_role(ROLE);
        lock(&bench.shared.aws).iam.put_role(target);
        let form = [("RoleArn", FOREIGN), ("RoleSessionName", "chained")];
        let keys = bench.session();
        assert_eq!(bench.call("AssumeRole", &form, Some(&keys)), "AccessDenied");
        let role = Role::new(ROLE).allow("sts:AssumeRole", FOREIGN);
        lock(&bench.shared.aws).iam.put_role(role);
        let answer = bench.call("AssumeRole", &form, Some(&keys));
        assert!(answer.contains("arn:aws:sts::444455556666:assumed-role/target/chained"));
        assert_eq!(bench.call("AssumeRole", &form, None), "MissingAuthenticationToken");
    }

    #[test]
    fn transitive_tags_are_inherited_and_stay_as_they_are() {
        let bench = Bench::with(Role::new(ROLE).trust_role(ROLE));
        let form = |tag| {
            vec![
                ("RoleArn", ROLE),
                ("RoleSessionName", "next"),
                ("Tags.member.1.Key", "team"),
                ("Tags.member.1.Value", tag),
                ("TransitiveTagKeys.member.1", "team"),
            ]
        };
        bench.call("AssumeRole", &form("shop"), Some(&bench.session()));
        let keys = {
            let aws = lock(&bench.shared.aws);
            let mut sessions = aws.iam.sessions();
            sessions.retain(|session| session.name == "next");
            assert_eq!(sessions[0].tags["team"], "shop");
            assert_eq!(sessions[0].transitive_tag_keys, ["team"]);
            aws.iam.keys_of_session("next").expect("open").clone()
        };
        assert_eq!(bench.call("AssumeRole", &form("other"), Some(&keys)), "InvalidParameterValue");
        let plain = [("RoleArn", ROLE), ("RoleSessionName", "last")];
        bench.call("AssumeRole", &plain, Some(&keys));
        let sessions = lock(&bench.shared.aws).iam.sessions();
        let last = sessions.iter().find(|session| session.name == "last");
        assert_eq!(last.expect("open").tags["team"], "shop");
    }

    #[test]
    fn requests_that_lack_something_are_refused_and_never_a_panic() {
        let bench = Bench::with(Role::new(ROLE));
        let operation = "AssumeRoleWithWebIdentity";
        for form in [
            vec![],
            vec![("RoleArn", "é")],
            vec![("RoleArn", ROLE), ("RoleSessionName", "x")],
            vec![("RoleArn", ROLE), ("RoleSessionName", "ünsound")],
            vec![("RoleArn", ROLE), ("RoleSessionName", "session")],
            vec![("RoleArn", "arn:aws:iam::111122223333:user/web"), ("RoleSessionName", "xx")],
        ] {
            assert_eq!(bench.call(operation, &form, None), "ValidationError");
        }
        assert_eq!(bench.call("GetFederationToken", &[], None), "InvalidAction");
    }
}
