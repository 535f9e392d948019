use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use super::*;

/// One that is signed by the one before it, or by itself.
struct Made {
    params: CertificateParams,
    pair: KeyPair,
    pem: String,
}

fn made(name: &str, by: Option<&Made>) -> Made {
    made_with(name, by, KeyPair::generate().expect("a key"), 2050)
}

fn made_with(name: &str, by: Option<&Made>, pair: KeyPair, ends: i32) -> Made {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(ends, 3, 1);
    let signed = match by {
        None => params.self_signed(&pair),
        Some(by) => params.signed_by(&pair, &Issuer::from_params(&by.params, &by.pair)),
    };
    let pem = signed.expect("signed").pem().replace('\r', "");
    Made { params, pair, pem }
}

/// A root, who that has issued, and so on, down to the leaf.
fn line(length: usize) -> Vec<Made> {
    let mut line: Vec<Made> = Vec::new();
    for number in 0..length {
        let next = made(&format!("name {number}"), line.last());
        line.push(next);
    }
    line
}

fn bundle(texts: &[&str]) -> Result<Bundle, PemError> {
    let texts: Vec<SecretBytes> = texts.iter().map(|text| SecretBytes::from((*text).to_owned())).collect();
    Bundle::of(&texts, &mut Budget::of_a_mount())
}

fn part(bundle: &Bundle, part: PemPart) -> Result<String, PemError> {
    let content = bundle.part(part, 1 << 20)?.expect("it is short");
    Ok(String::from_utf8(content.expose().to_vec()).expect("PEM is text"))
}

fn problem(texts: &[&str]) -> PemError {
    bundle(texts).err().expect("it is refused")
}

#[test]
fn keys_of_every_kind_find_their_certificates() {
    let root = made("root", None);
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        let leaf = made_with("leaf", Some(&root), KeyPair::generate_for(algorithm).expect("a key"), 2050);
        let key = leaf.pair.serialize_pem();
        let bundle = bundle(&[&root.pem, &key, &leaf.pem]).unwrap_or_else(|error| panic!("{algorithm:?}: {error}"));
        assert_eq!(part(&bundle, PemPart::FullChain), Ok(leaf.pem + &root.pem));
    }
}

#[test]
fn the_key_decides_which_certificate_is_the_leaf() {
    let line = line(3);
    let key = line[1].pair.serialize_pem();
    let all = [&*line[0].pem, &line[1].pem, &key];
    assert_eq!(part(&bundle(&all).expect("whole"), PemPart::Certificate).as_ref(), Ok(&line[1].pem));
    // What it has issued is in no chain of it.
    assert_eq!(problem(&[&line[2].pem, &line[1].pem, &line[0].pem, &key]), PemError::NotInChain(1));
}

#[test]
fn who_has_the_name_of_an_issuer_and_has_not_signed_is_none() {
    let (root, impostor) = (made("root", None), made("root", None));
    let leaf = made("leaf", Some(&root));
    let key = leaf.pair.serialize_pem();
    assert_eq!(problem(&[&leaf.pem, &impostor.pem, &key]), PemError::NotInChain(2));
    assert_eq!(problem(&[&leaf.pem, &impostor.pem, &root.pem, &key]), PemError::NotInChain(2));
    // With one key and one name both have signed.
    let again = made_with("root", None, KeyPair::from_pem(&root.pair.serialize_pem()).expect("a key"), 2051);
    assert_eq!(problem(&[&leaf.pem, &again.pem, &root.pem, &key]), PemError::SeveralIssuers(1));
}

#[test]
fn who_have_issued_each_other_have_no_leaf() {
    let (one, other) = (made("one", None), made("other", None));
    let key_of = |made: &Made| KeyPair::from_pem(&made.pair.serialize_pem()).expect("a key");
    let (one_by_other, other_by_one) =
        (made_with("one", Some(&other), key_of(&one), 2050), made_with("other", Some(&one), key_of(&other), 2050));
    let both = [&*one_by_other.pem, &other_by_one.pem];
    assert_eq!(problem(&both), PemError::NoLeaf);
    let key = one.pair.serialize_pem();
    let with_key = bundle(&[both[0], both[1], &key]).expect("a chain that ends");
    assert_eq!(part(&with_key, PemPart::FullChain), Ok(both.concat()));
}

#[test]
fn what_is_encrypted_or_uncommon_is_a_key_all_the_same() {
    let leaf = made("leaf", None);
    let [number, text, oid] = [[2, 1, 0].as_slice(), &[4, 1, 7], &[6, 1, 42]];
    let sequence = |parts: &[&[u8]]| [&[0x30, parts.concat().len() as u8], &*parts.concat()].concat();
    let algorithm = sequence(&[oid]);
    let keys = [
        ("PRIVATE KEY", sequence(&[number, &algorithm, text])),
        ("ENCRYPTED PRIVATE KEY", sequence(&[&algorithm, text])),
        ("RSA PRIVATE KEY", sequence(&[number; 9])),
        ("EC PRIVATE KEY", sequence(&[number, text])),
    ];
    for (label, der) in keys {
        let key = pem(label, "", &der);
        let bundle = bundle(&[&leaf.pem, &key]).unwrap_or_else(|error| panic!("{label}: {error}"));
        assert_eq!(part(&bundle, PemPart::Bundle), Ok(key + &leaf.pem), "{label}");
        let cut = pem(label, "", &der[..der.len() - 1]);
        assert_eq!(problem(&[&leaf.pem, &cut]), PemError::NoKey(2), "{label}");
    }
    let headers = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n";
    let old = pem("RSA PRIVATE KEY", headers, b"anything");
    assert_eq!(part(&bundle(&[&old]).expect("a key"), PemPart::Key).as_ref(), Ok(&old));
    let other = made("other", None);
    assert_eq!(problem(&[&leaf.pem, &other.pem, &old]), PemError::NoLeafOfKey);
}

fn pem(label: &str, headers: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = (0..base64.len()).step_by(64).map(|at| &base64[at..base64.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----\n{headers}{}\n-----END {label}-----\n", lines.join("\n"))
}

#[test]
fn a14_blocks_and_signatures_are_limited() {
    let one = made("one", None);
    assert_eq!(problem(&[&one.pem.repeat(101)]), PemError::TooManyBlocks);
    assert_eq!(part(&bundle(&[&one.pem.repeat(100)]).expect("one"), PemPart::FullChain).as_ref(), Ok(&one.pem));
    // All of one name, so that each may have issued each other.
    let alike: Vec<Made> = (0..40).map(|_| made("name", None)).collect();
    let text: String = alike.iter().map(|made| made.pem.as_str()).collect();
    assert_eq!(problem(&[&text]), PemError::TooExpensive);
    let whole = bundle(&[&one.pem]).expect("one");
    assert!(whole.part(PemPart::FullChain, one.pem.len()).expect("there").is_some());
    assert!(whole.part(PemPart::FullChain, one.pem.len() - 1).expect("there").is_none());
}

#[test]
fn only_leaves_are_looked_at_for_their_end() {
    let root = made_with("root", None, KeyPair::generate().expect("a key"), 2010);
    let leaf = made("leaf", Some(&root));
    let day = Duration::from_secs(24 * 60 * 60);
    let ended_at = |pems: &[&str], now| {
        let texts: Vec<SecretBytes> = pems.iter().map(|text| SecretBytes::from((*text).to_owned())).collect();
        ended(&texts, now, &mut Budget::of_a_mount())
    };
    let in_2011 = UNIX_EPOCH + day * (41 * 365 + 10 + 60);
    assert_eq!(ended_at(&[&root.pem, &leaf.pem], in_2011), Ok(Expiry::None));
    assert_eq!(ended_at(&[&root.pem], in_2011), Ok(Expiry::On("2010-03-01".into())));
    let end = UNIX_EPOCH + day * (40 * 365 + 10 + 31 + 28);
    assert_eq!(ended_at(&[&root.pem], end), Ok(Expiry::None));
    assert_eq!(ended_at(&[&root.pem], end + Duration::from_secs(1)), Ok(Expiry::On("2010-03-01".into())));
    assert_eq!(ended_at(&[&leaf.pair.serialize_pem()], end), Ok(Expiry::NoCertificate));
}

#[test]
fn a38_errors_show_nothing_of_what_is_broken() {
    let texts = [
        "-----BEGIN hunter2-----\nhunter2\n-----END hunter2-----",
        "-----BEGIN CERTIFICATE-----\nhunter2\n-----END PRIVATE KEY-----",
        "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----",
        "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----",
        "-----END hunter2-----",
        "hunter2",
    ];
    for text in texts {
        let shown = format!("{0} {0:?}", problem(&[text]));
        assert!(!shown.contains("hunter2") && !shown.contains("aHVu"), "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn whatever_the_order_the_chain_is_the_same(
        length in 1usize..6,
        has_key: bool,
        splits in proptest::collection::vec(any::<proptest::sample::Index>(), 7),
        between in proptest::collection::vec("[a-z :=\r\n]{0,20}", 7),
    ) {
        let line = line(length);
        let leaf = line.last().expect("at least one");
        let key = leaf.pair.serialize_pem().replace('\r', "");
        let mut blocks: Vec<String> = line.iter().map(|made| made.pem.clone()).collect();
        let expected: String = blocks.iter().rev().map(String::as_str).collect();
        if has_key {
            blocks.push(key.clone());
        }
        blocks.extend(blocks.clone()[..length].iter().take(2).cloned().collect::<Vec<_>>()); // some twice
        let mut texts = vec![String::new(); 3];
        for (number, (place, words)) in splits.iter().zip(&between).enumerate() {
            if blocks.is_empty() {
                break;
            }
            let block = blocks.remove(place.index(blocks.len()));
            texts[number % 3] += &format!("{words}\n{block}");
        }
        texts.extend(blocks);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let bundle = bundle(&texts).expect("it belongs together");
        prop_assert_eq!(part(&bundle, PemPart::FullChain), Ok(expected.clone()));
        let whole = if has_key { Ok(key + &expected) } else { Err(PemError::KeyMissing("bundle")) };
        prop_assert_eq!(part(&bundle, PemPart::Bundle), whole);
    }

    #[test]
    fn no_bytes_make_it_panic(mut der in proptest::collection::vec(any::<u8>(), 0..80), at: proptest::sample::Index, byte: u8) {
        let texts = |der: &[u8]| ["CERTIFICATE", "PRIVATE KEY", "EC PRIVATE KEY"].map(|label| pem(label, "", der));
        for text in texts(&der) {
            let _ = bundle(&[&text]);
        }
        // One wrong byte in what was right.
        let right = made("name", None);
        der = right.params.self_signed(&right.pair).expect("signed").der().to_vec();
        let place = at.index(der.len());
        der[place] = byte;
        for text in texts(&der) {
            let _ = bundle(&[&text, &right.pem]);
            let _ = check(&[SecretBytes::from(text)], &mut Budget::of_a_mount());
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "(-----(BEGIN|END) (CERTIFICATE|PRIVATE KEY|X)-----|[A-Za-z0-9+/=: -]|\n){0,12}") {
        let _ = bundle(&[&text]);
    }
}
