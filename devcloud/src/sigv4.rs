//! AWS Signature Version 4, from the side that checks it.

use crate::encoding;
use crate::exchange::Asked;
use crate::iam::{Iam, Principal};

/// How far the clocks of the two sides may be apart.
const SKEW_SECONDS: i64 = 300;

/// A caller whose signature is good.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub principal: Principal,
    /// The Region of the credential scope, which is the Region that was asked.
    pub region: String,
}

/// Why a signature does not count. Each protocol has its own codes for these.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Missing,
    Incomplete(String),
    UnknownKey,
    ExpiredKey,
    /// Of no use for the reason given.
    Wrong(String),
}

/// The `Authorization` header taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Authorization<'a> {
    pub access_key_id: &'a str,
    date: &'a str,
    pub region: &'a str,
    pub service: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    pub fn parse(header: &'a str) -> Result<Self, Refused> {
        let incomplete = |what: &str| Refused::Incomplete(format!("Authorization header requires '{what}' parameter."));
        let fields = header
            .strip_prefix("AWS4-HMAC-SHA256")
            .ok_or_else(|| Refused::Incomplete("Unsupported Authorization type.".into()))?;
        let field = |name: &str| {
            let mut fields = fields.split(',').map(str::trim);
            fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).ok_or_else(|| incomplete(name))
        };
        let credential: Vec<&str> = field("Credential")?.split('/').collect();
        let [access_key_id, date, region, service, "aws4_request"] = credential[..] else {
            return Err(incomplete("Credential"));
        };
        Ok(Self {
            access_key_id,
            date,
            region,
            service,
            signed_headers: field("SignedHeaders")?.split(';').collect(),
            signature: field("Signature")?,
        })
    }

    fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

/// Who signed this request for this service.
pub(crate) fn authenticate(iam: &Iam, asked: &Asked, service: &str) -> Result<Caller, Refused> {
    let header = asked.header("authorization");
    if header.is_empty() {
        return Err(Refused::Missing);
    }
    let authorization = Authorization::parse(header)?;
    let keys = iam.keys(authorization.access_key_id).ok_or(Refused::UnknownKey)?;
    let token = asked.header("x-amz-security-token");
    if !encoding::same(token.as_bytes(), keys.token.as_deref().unwrap_or("").as_bytes()) {
        return Err(Refused::UnknownKey);
    }
    if authorization.service != service {
        return Err(Refused::Wrong(format!("Credential should be scoped to correct service: '{service}'. ")));
    }
    check_signed_headers(&authorization, asked)?;
    let moment = check_date(&authorization, asked.header("x-amz-date"))?;

    let canonical = canonical_request(asked, &authorization.signed_headers);
    let expected = sign(&keys.secret, &authorization, &moment, &canonical);
    if !encoding::same(expected.as_bytes(), authorization.signature.as_bytes()) {
        return Err(Refused::Wrong(
            "The request signature we calculated does not match the signature you provided. Check your AWS \
             Secret Access Key and signing method. Consult the service documentation for details."
                .into(),
        ));
    }
    if keys.expired() {
        return Err(Refused::ExpiredKey);
    }
    Ok(Caller { principal: keys.principal.clone(), region: authorization.region.to_owned() })
}

/// What decides the meaning of a request has to be signed.
fn check_signed_headers(authorization: &Authorization<'_>, asked: &Asked) -> Result<(), Refused> {
    for name in ["host", "x-amz-date", "x-amz-target", "x-amz-security-token"] {
        let present = asked.headers.contains_key(name);
        if present && !authorization.signed_headers.contains(&name) {
            let text = format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.");
            return Err(Refused::Wrong(text));
        }
    }
    Ok(())
}

/// The request's moment, if it is now and of the day in the scope.
fn check_date(authorization: &Authorization<'_>, moment: &str) -> Result<String, Refused> {
    let seconds = moment.parse::<jiff::Timestamp>().ok();
    let Some(seconds) = seconds.filter(|_| moment.len() == "20260131T100000Z".len()) else {
        let text = "Date must be in ISO-8601 'basic format'. Got '".to_owned() + moment + "'.";
        return Err(Refused::Incomplete(text));
    };
    if !moment.starts_with(authorization.date) {
        let text = "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP";
        return Err(Refused::Wrong(text.into()));
    }
    let (now, seconds) = (encoding::now(), seconds.as_second());
    let basic = |seconds| encoding::rfc3339(seconds).replace(['-', ':'], "");
    if seconds < now - SKEW_SECONDS {
        return Err(Refused::Wrong(format!(
            "Signature expired: {moment} is now earlier than {} ({} - 5 min.)",
            basic(now - SKEW_SECONDS),
            basic(now)
        )));
    }
    if seconds > now + SKEW_SECONDS {
        return Err(Refused::Wrong(format!(
            "Signature not yet current: {moment} is still later than {} ({} + 5 min.)",
            basic(now + SKEW_SECONDS),
            basic(now)
        )));
    }
    Ok(moment.to_owned())
}

fn canonical_request(asked: &Asked, signed_headers: &[&str]) -> String {
    let mut query: Vec<(String, String)> = asked
        .query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let normal = |text| encoding::url_encode(&encoding::url_decode(text, false), false);
            (normal(name), normal(value))
        })
        .collect();
    query.sort();
    let query: Vec<String> = query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let headers: String = signed_headers
        .iter()
        .map(|name| {
            let values: Vec<String> = asked
                .headers
                .get_all(*name)
                .iter()
                .map(|value| {
                    let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
                    text.split_whitespace().collect::<Vec<_>>().join(" ")
                })
                .collect();
            format!("{name}:{}\n", values.join(","))
        })
        .collect();
    format!(
        "{}\n{}\n{}\n{headers}\n{}\n{}",
        asked.method,
        // Every service but S3 signs the path encoded once more than it is sent.
        encoding::url_encode(&asked.path, true),
        query.join("&"),
        signed_headers.join(";"),
        encoding::hex(&encoding::sha256(&asked.body))
    )
}

fn sign(secret: &str, scope: &Authorization<'_>, moment: &str, canonical: &str) -> String {
    let text = format!(
        "AWS4-HMAC-SHA256\n{moment}\n{}\n{}",
        scope.scope(),
        encoding::hex(&encoding::sha256(canonical.as_bytes()))
    );
    let seed = format!("AWS4{secret}").into_bytes();
    let key = [scope.date, scope.region, scope.service, "aws4_request"]
        .iter()
        .fold(seed, |key, part| encoding::hmac_sha256(&key, part.as_bytes()));
    encoding::hex(&encoding::hmac_sha256(&key, text.as_bytes()))
}

/// Signs as a client would, with the headers `host` and `x-amz-date` and those that are given.
#[cfg(test)]
pub(crate) fn sign_for_test(access_key_id: &str, secret: &str, region: &str, service: &str, asked: &mut Asked) {
    let moment = encoding::rfc3339(encoding::now()).replace(['-', ':'], "");
    let value = http::HeaderValue::from_str(&moment).expect("digits");
    asked.headers.insert("x-amz-date", value);
    let host = http::HeaderValue::from_static("localhost");
    asked.headers.insert("host", host);
    let names: Vec<String> = asked.headers.keys().map(|name| name.to_string()).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    let scope = Authorization {
        access_key_id,
        date: &moment[..8],
        region,
        service,
        signed_headers: names.clone(),
        signature: "",
    };
    let signature = sign(secret, &scope, &moment, &canonical_request(asked, &names));
    let header = format!(
        "AWS4-HMAC-SHA256 Credential={access_key_id}/{}, SignedHeaders={}, Signature={signature}",
        scope.scope(),
        names.join(";")
    );
    let value = http::HeaderValue::from_str(&header).expect("plain text");
    asked.headers.insert("authorization", value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iam::{ADMIN_ACCESS_KEY_ID, ADMIN_SECRET_ACCESS_KEY};
    use http::{HeaderMap, Method};

    fn asked(body: &str) -> Asked {
        let mut headers = HeaderMap::new();
        let target = http::HeaderValue::from_static("secretsmanager.GetSecretValue");
        headers.insert("x-amz-target", target);
        Asked { method: Method::POST, path: "/".into(), query: String::new(), headers, body: body.to_owned().into() }
    }

    fn signed(body: &str) -> Asked {
        let mut asked = asked(body);
        sign_for_test(ADMIN_ACCESS_KEY_ID, ADMIN_SECRET_ACCESS_KEY, "eu-west-1", "secretsmanager", &mut asked);
        asked
    }

    /// `get-vanilla` of AWS's own test suite.
    #[test]
    fn the_signature_is_that_of_the_published_test_vector() {
        let mut asked = asked("");
        asked.method = Method::GET;
        asked.headers.clear();
        let put = |headers: &mut HeaderMap, name: &'static str, value: &'static str| {
            headers.insert(name, http::HeaderValue::from_static(value));
        };
        put(&mut asked.headers, "host", "example.amazonaws.com");
        put(&mut asked.headers, "x-amz-date", "20150830T123600Z");
        let header = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        let scope = Authorization::parse(header).expect("whole");
        let canonical = canonical_request(&asked, &scope.signed_headers);
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        assert_eq!(sign(secret, &scope, "20150830T123600Z", &canonical), scope.signature);
    }

    #[test]
    fn a_signed_request_passes_and_says_its_region() {
        let iam = Iam::new("111122223333");
        let caller = authenticate(&iam, &signed("{}"), "secretsmanager").expect("signed");
        assert_eq!(caller.region, "eu-west-1");
    }

    #[test]
    fn a_changed_body_another_service_or_an_unsigned_target_is_refused() {
        let iam = Iam::new("111122223333");
        let mut changed = signed("{}");
        changed.body = "{ }".into();
        let refused = authenticate(&iam, &changed, "secretsmanager");
        assert!(matches!(refused, Err(Refused::Wrong(text)) if text.contains("does not match")));
        let refused = authenticate(&iam, &signed("{}"), "ssm");
        assert!(matches!(refused, Err(Refused::Wrong(text)) if text.contains("'ssm'")));

        let mut added = asked("{}");
        let target = added.headers.remove("x-amz-target").expect("there");
        let (id, secret) = (ADMIN_ACCESS_KEY_ID, ADMIN_SECRET_ACCESS_KEY);
        sign_for_test(id, secret, "eu-west-1", "secretsmanager", &mut added);
        added.headers.insert("x-amz-target", target);
        let refused = authenticate(&iam, &added, "secretsmanager");
        assert!(matches!(refused, Err(Refused::Wrong(text)) if text.contains("SignedHeader")));
    }

    #[test]
    fn a_stale_date_a_strange_token_and_an_unknown_key_are_refused() {
        let iam = Iam::new("111122223333");
        let header = format!(
            "AWS4-HMAC-SHA256 Credential={ADMIN_ACCESS_KEY_ID}/20150830/us-east-1/ssm/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature=00"
        );
        let scope = Authorization::parse(&header).expect("whole");
        let refused = check_date(&scope, "20150830T123600Z");
        assert!(matches!(refused, Err(Refused::Wrong(text)) if text.starts_with("Signature expired")));
        assert!(matches!(check_date(&scope, "yesterday"), Err(Refused::Incomplete(_))));

        let mut strange = signed("{}");
        let value = http::HeaderValue::from_static("a-token");
        strange.headers.insert("x-amz-security-token", value);
        let refused = authenticate(&iam, &strange, "secretsmanager");
        assert_eq!(refused.expect_err("strange"), Refused::UnknownKey);

        let mut unknown = asked("{}");
        sign_for_test("AKIAUNKNOWN", "x", "eu-west-1", "ssm", &mut unknown);
        let refused = authenticate(&iam, &unknown, "ssm");
        assert_eq!(refused.expect_err("unknown"), Refused::UnknownKey);
    }

    #[test]
    fn broken_headers_are_incomplete_and_never_a_panic() {
        for header in [
            "Bearer x",
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=1",
            "AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request, Signature=1",
        ] {
            let refused = Authorization::parse(header);
            assert!(matches!(refused, Err(Refused::Incomplete(_))), "{header}");
        }
    }
}
