use proptest::prelude::*;

use super::*;
use crate::plan::RelativePath;
use crate::plan::aws::{AddressFamily, Item, Origin, Revision};
use crate::reason::{Explained as _, Reason};

const DEFAULT: u32 = 0o644;

fn parse_with(parameters: &[(&str, &str)]) -> Result<Class, SpecError> {
    let parameters = parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Class::parse(&parameters, FilePermission::from_mode(DEFAULT).0, &Limits::DEFAULT)
}

fn parse(objects: &str) -> Result<Class, SpecError> {
    parse_with(&[("objects", objects), ("region", "eu-west-1")])
}

fn region(name: &str) -> Region {
    name.parse().expect("a Region")
}

fn plan(objects: &str) -> SecretPlan<Arc<Stored>> {
    let class = parse(objects).unwrap_or_else(|error| panic!("{objects}: {error}"));
    class.plan(&region("eu-west-1")).expect("same Region")
}

fn revision_of(address: &Stored) -> &Revision {
    match &address.item {
        Item::Secret(secret) => &secret.revision,
        Item::Parameter(_) | Item::List(_) => panic!("{address} is no secret"),
    }
}

/// Every file as `path mode`, in the order of the class.
fn files(objects: &str) -> Vec<String> {
    let files = plan(objects).objects.into_iter().flat_map(|object| object.files);
    files.map(|file| format!("{} {}", file.path, file.permission)).collect()
}

fn reason_of(objects: &str) -> Reason {
    parse(objects).expect_err(objects).reason()
}

#[test]
fn a_class_of_the_official_documentation_is_read() {
    let plan = plan(
        r#"
        - objectName: "MySecret"
          objectType: "secretsmanager"
          objectAlias: "my-secret.json"
          filePermission: "0400"
          jmesPath:
              - path: "username"
                objectAlias: "user"
              - path: "password"
                objectAlias: "pass"
                filePermission: "0440"
        "#,
    );
    let object = &plan.objects[0];
    assert_eq!(object.address.to_string(), r#"secret "MySecret" in eu-west-1"#);
    assert_eq!(*revision_of(&object.address), Revision::Stage("AWSCURRENT".into()));
    let files: Vec<_> = object.files.iter().map(|file| format!("{} {}", file.path, file.permission)).collect();
    assert_eq!(files, ["my-secret.json 0400", "user 0400", "pass 0440"]);
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
}

#[test]
fn keys_of_objects_match_in_any_case_and_null_is_absent() {
    let files = files("- {OBJECTNAME: a, ObjectType: secretsmanager, objectalias: null, FILEPERMISSION: '0600'}");
    assert_eq!(files, ["a 0600"]);
}

#[test]
fn names_become_file_names_by_path_translation() {
    let name = |translation: &str, name: &str| {
        let objects = format!("- {{objectName: {name}, objectType: secretsmanager}}");
        parse_with(&[("objects", &objects), ("pathTranslation", translation)])
            .map(|class| class.objects[0].files[0].path.to_string())
            .map_err(|error| error.reason())
    };
    assert_eq!(name("", "/shop/db"), Ok("_shop_db".into()));
    assert_eq!(name("+", "shop/db"), Ok("shop+db".into()));
    assert_eq!(name("False", "/shop/db"), Ok("shop/db".into()));
    assert_eq!(name("FALSE", "shop/db"), Ok("shop/db".into()));
    assert_eq!(name("/", "shop/db"), Ok("shop/db".into()));
    assert_eq!(name("--", "shop/db"), Err(Reason::InvalidParameter));
    assert_eq!(name("é", "shop/db"), Err(Reason::InvalidParameter));
}

#[test]
fn a02_translation_cannot_make_a_path_that_leaves_the_volume() {
    for (translation, name) in
        [(".", "//"), (".", "//x"), (".", "/"), ("False", "../x"), ("False", "a/../../x"), ("False", "/"), ("/", "/x")]
    {
        let objects = format!("- {{objectName: '{name}', objectType: secretsmanager}}");
        let error = parse_with(&[("objects", &objects), ("pathTranslation", translation)]).expect_err(name);
        assert_eq!(error.reason(), Reason::InvalidFileName, "{translation} {name}: {error}");
    }
}

#[test]
fn a01_a03_hostile_aliases_are_refused_with_the_object_named() {
    for alias in ["..", ".", "..data", "..x", "..2026_01_01_00_00_00.1", "a\\nb", "a\\0b", "\\u007f"] {
        for objects in [
            format!("- {{objectName: secret-a, objectType: secretsmanager, objectAlias: \"{alias}\"}}"),
            format!(
                "- {{objectName: secret-a, objectType: secretsmanager, jmesPath: [{{path: a, objectAlias: \"{alias}\"}}]}}"
            ),
        ] {
            let error = parse(&objects).expect_err(alias);
            assert_eq!(error.reason(), Reason::InvalidFileName, "{objects}: {error}");
            assert!(error.to_string().contains("\"secret-a\" (object 1)"), "{error}");
        }
    }
}

#[test]
fn a05_a_region_that_could_leave_aws_is_refused() {
    for region in ["x.attacker.tld/#", "us-east-1\r\nHost: x", "us-east-1@x", "EU-WEST-1", "no-where-1"] {
        let error = parse_with(&[("objects", "- {objectName: a, objectType: secretsmanager}"), ("region", region)]);
        assert_eq!(error.expect_err(region).reason(), Reason::InvalidParameter);
    }
}

#[test]
fn versions_and_labels_become_one_revision() {
    let revision = |more: &str| {
        let plan = plan(&format!("- {{objectName: a, objectType: secretsmanager{more}}}"));
        revision_of(&plan.objects[0].address).clone()
    };
    assert_eq!(revision(""), Revision::Stage("AWSCURRENT".into()));
    assert_eq!(revision(", objectVersionLabel: AWSPREVIOUS"), Revision::Stage("AWSPREVIOUS".into()));
    assert_eq!(revision(", objectVersion: 1"), Revision::Version { id: "1".into(), stage: None });
    assert_eq!(
        revision(", objectVersion: x, objectVersionLabel: L"),
        Revision::Version { id: "x".into(), stage: Some("L".into()) }
    );
}

#[test]
fn the_type_may_come_from_the_arn_and_must_agree_with_it() {
    let arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:shop/db-AbCdEf";
    assert_eq!(
        files(&format!("- objectName: {arn}")),
        ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:shop_db-AbCdEf 0644"]
    );
    for (objects, problem) in [
        ("- objectName: a".to_owned(), "no objectType"),
        ("- {objectName: a, objectType: ssm}".into(), "unknown objectType"),
        ("- {objectName: a, objectType: SecretsManager}".into(), "unknown objectType"),
        (format!("- {{objectName: '{arn}', objectType: ssmparameter}}"), "contradicts"),
        ("- objectName: 'arn:aws:s3:::bucket'".into(), "ARN of s3"),
        ("- objectName: 'arn:aws:s3:eu-west-1:1:bucket'".into(), "ARN of s3"),
        ("- objectName: 'arn:aws:secretsmanager'".into(), "not a whole ARN"),
    ] {
        let error = parse(&objects).expect_err(&objects);
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[test]
fn an_object_is_read_where_it_or_its_arn_says_and_its_standby_in_the_failover_region() {
    let arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:a-AbCdEf";
    let secret = "objectName: shop/db, objectType: secretsmanager";
    let parameter = "objectName: /shop/port, objectType: ssmparameter, objectVersion: 3";
    let of_account = "accountId: '444455556666'";
    for (object, address, standby) in [
        (
            format!("objectName: '{arn}', objectAlias: x"),
            format!("secret {arn:?} in us-east-1"),
            format!("secret {:?} in eu-central-1", arn.replace("us-east-1", "eu-central-1")),
        ),
        (
            format!("{secret}, region: cn-north-1"),
            "secret \"shop/db\" in cn-north-1".into(),
            "secret \"shop/db\" in eu-central-1".into(),
        ),
        (
            format!("{secret}, region: cn-north-1, {of_account}"),
            "secret \"arn:aws-cn:secretsmanager:cn-north-1:444455556666:secret:shop/db\" in cn-north-1".into(),
            "secret \"arn:aws:secretsmanager:eu-central-1:444455556666:secret:shop/db\" in eu-central-1".into(),
        ),
        (
            format!("{parameter}, {of_account}"),
            "parameter \"arn:aws:ssm:eu-west-1:444455556666:parameter/shop/port\" (version 3) in eu-west-1".into(),
            "parameter \"arn:aws:ssm:eu-central-1:444455556666:parameter/shop/port\" (version 3) in eu-central-1"
                .into(),
        ),
    ] {
        let objects = format!("- {{{object}}}");
        let class = parse_with(&[("objects", &objects), ("failoverRegion", "eu-central-1")]).expect(&object);
        let plan = class.plan(&region("eu-west-1")).expect(&object);
        let addresses: Vec<_> = plan.objects[0].addresses().map(ToString::to_string).collect();
        assert_eq!(addresses, [address, standby], "{object}");
    }
}

#[test]
fn objects_that_the_official_provider_takes_for_the_same_are_refused() {
    let object = |more: &str| format!("- {{objectName: a, objectType: secretsmanager{more}}}\n");
    for (first, second) in [
        ("", ""),
        (", objectAlias: x", ", objectAlias: x"),
        (", objectVersionLabel: l", ", objectVersionLabel: l"),
        (", objectAlias: x, objectVersionLabel: l", ", objectAlias: x, objectVersionLabel: l"),
    ] {
        assert_eq!(reason_of(&(object(first) + &object(second))), Reason::DuplicateFile, "{first} {second}");
    }
    assert_eq!(files(&(object("") + &object(", objectAlias: x"))).len(), 2);
    assert_eq!(
        reason_of(
            "- {objectName: a, objectType: secretsmanager, objectAlias: x, jmesPath: [{path: p, objectAlias: x}]}"
        ),
        Reason::DuplicateFile
    );
}

#[test]
fn a04_one_path_twice_is_a_warning_and_a_file_as_directory_is_refused() {
    let same = "- {objectName: a, objectType: secretsmanager, jmesPath: [{path: p, objectAlias: a}]}";
    let plan = plan(same);
    assert_eq!(plan.warnings.len(), 1, "{:?}", plan.warnings);
    let nested = "- {objectName: a, objectType: secretsmanager}\n- {objectName: a/b/c, objectType: secretsmanager}";
    let error = parse_with(&[("objects", nested), ("pathTranslation", "False")]).expect_err("a is a file");
    assert_eq!(error.reason(), Reason::DuplicateFile);
    assert!(error.to_string().contains("\"a\" of object 1"), "{error}");
    // The official provider reads only the last of equal keys.
    assert_eq!(files("- {objectName: x, objectName: b, objectType: secretsmanager}"), ["b 0644"]);
}

#[test]
fn a15_special_bits_are_dropped_with_a_warning_and_other_texts_refused() {
    let plan = plan("- {objectName: a, objectType: secretsmanager, filePermission: '4755'}");
    assert_eq!(plan.objects[0].files[0].permission.mode(), 0o755);
    assert_eq!(plan.warnings.len(), 1, "{:?}", plan.warnings);
    for permission in ["'644'", "'00644'", "'0888'", "rw-r--r--", "'-644'", "420"] {
        let objects = format!("- {{objectName: a, objectType: secretsmanager, filePermission: {permission}}}");
        assert_eq!(reason_of(&objects), Reason::InvalidParameter, "{permission}");
    }
}

#[test]
fn a15_special_bits_of_a_template_are_dropped_with_a_warning_too() {
    let objects = "- {objectName: a, objectType: secretsmanager}";
    let templates =
        "[{path: x, format: json, filePermission: '4750'}, {path: y, format: json, filePermission: '0400'}]";
    let class = parse_with(&[("objects", objects), ("templates", templates)]).expect("valid");
    assert_eq!(class.templates.iter().map(|template| template.permission.mode()).collect::<Vec<_>>(), [0o750, 0o400]);
    assert_eq!(class.warnings, ["the special bits of filePermission \"4750\" of file 1 of templates are not set"]);
}

#[test]
fn f66_a_class_without_objects_is_refused() {
    for objects in ["", "[]", "null", "# nothing"] {
        assert_eq!(reason_of(objects), Reason::InvalidObjects, "{objects:?}");
    }
    assert_eq!(parse_with(&[]).expect_err("nothing").reason(), Reason::InvalidObjects);
    for objects in ["- ", "- objectType: secretsmanager", "a: b", "- [", "- text", "- {objectName: [a]}"] {
        assert_eq!(reason_of(objects), Reason::InvalidObjects, "{objects:?}");
    }
}

#[test]
fn a14_limits_are_named() {
    let many: String = (0..501).map(|n| format!("- {{objectName: a{n}, objectType: secretsmanager}}\n")).collect();
    let error = parse(&many).expect_err("too many");
    assert_eq!(error.reason(), Reason::LimitExceeded);
    assert!(
        error.to_string().contains("501 objects; 500 is the limit") && error.to_string().contains("--max-objects"),
        "{error}"
    );
    let long = format!("# {}", "x".repeat(256 * 1024));
    assert_eq!(reason_of(&long), Reason::LimitExceeded);
    let finds = |count| "- {objectType: secretsmanager, find: {namePrefix: a}}\n".repeat(count);
    parse(&finds(20)).expect("as many as may be");
    let error = parse(&finds(21)).expect_err("too many lists");
    assert_eq!(error.to_string(), "`objects` has 21 objects with find; 20 is the limit. Split the class");
    assert_eq!(error.reason(), Reason::LimitExceeded);
    let earlier: String =
        (0..100).map(|n| format!("- {{objectName: a{n}, objectType: secretsmanager, previous: 20}}\n")).collect();
    let error = parse(&earlier).expect_err("too many files");
    assert!(error.to_string().contains("2100 files; 2000 is the limit"), "{error}");
    let most: String = (0..500)
        .map(|n| format!("- {{objectName: a{n}, objectType: secretsmanager, objectAlias: f{n}, objectVersion: v, objectVersionLabel: l, filePermission: '0400', jmesPath: [{{path: p, objectAlias: p{n}, filePermission: '0400'}}]}}\n"))
        .collect();
    assert_eq!(files(&most).len(), 1000, "the most objects with every key are within the parser's budget");
}

#[test]
fn parameters_are_read_by_name_or_arn_and_one_selector() {
    let arn = "arn:aws:ssm:eu-west-1:111122223333:parameter/shop/host";
    for (object, address, file) in [
        ("objectName: /shop/host, objectType: ssmparameter", "parameter \"/shop/host\"", "_shop_host"),
        ("objectName: host, objectType: ssmparameter, objectVersion: 3", "parameter \"host\" (version 3)", "host"),
        ("objectName: host, objectType: ssmparameter, objectVersionLabel: l", "parameter \"host\" (label l)", "host"),
        ("objectName: '/a:3', objectType: ssmparameter", "parameter \"/a\" (version 3)", "_a:3"),
        (&format!("objectName: '{arn}', objectAlias: x"), &format!("parameter {arn:?}"), "x"),
        (
            &format!("objectName: '{arn}', objectAlias: x, objectVersion: 2"),
            &format!("parameter {arn:?} (version 2)"),
            "x",
        ),
    ] {
        let plan = plan(&format!("- {{{object}}}"));
        assert_eq!(plan.objects[0].address.to_string(), format!("{address} in eu-west-1"), "{object}");
        assert_eq!(plan.objects[0].files[0].path.as_str(), file, "{object}");
    }
    for object in [
        "objectName: a, objectType: ssmparameter, objectVersion: 1, objectVersionLabel: l",
        "objectName: 'a:1', objectType: ssmparameter, objectVersion: 1",
        &format!("objectName: '{arn}', objectType: secretsmanager"),
    ] {
        assert_eq!(reason_of(&format!("- {{{object}}}")), Reason::InvalidParameter, "{object}");
    }
}

/// The standby of the only object of a class with `failoverRegion: eu-central-1`.
fn standby(object: &str) -> Result<Option<String>, String> {
    let objects = format!("- {{{object}}}");
    let parameters = [("objects", objects.as_str()), ("region", "eu-west-1"), ("failoverRegion", "eu-central-1")];
    let plan = parse_with(&parameters).and_then(|class| class.plan(&region("eu-west-1")));
    let plan = plan.map_err(|error| error.to_string())?;
    Ok(plan.objects[0].standby.as_ref().map(ToString::to_string))
}

#[test]
fn f16_a_class_with_a_failover_region_has_a_standby_for_every_object() {
    let arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:a-AbCdEf";
    let in_failover = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:b-AbCdEf";
    let of_secret = "objectName: a, objectType: secretsmanager, objectAlias: x";
    for (object, expected) in [
        (of_secret.to_owned(), "secret \"a\""),
        (format!("{of_secret}, objectVersion: v"), "secret \"a\" (version v)"),
        (format!("{of_secret}, failoverObject: {{objectName: b}}"), "secret \"b\""),
        (format!("{of_secret}, objectVersionLabel: l, failoverObject: {{objectName: b}}"), "secret \"b\" (stage l)"),
        (
            format!(
                "{of_secret}, objectVersion: v, failoverObject: {{objectName: b, objectVersion: v, objectVersionLabel: m}}"
            ),
            "secret \"b\" (version v, stage m)",
        ),
        (format!("{of_secret}, failoverObject: {{objectVersionLabel: m}}"), "secret \"a\" (stage m)"),
        (format!("{of_secret}, failoverObject: {{objectName: '{in_failover}'}}"), &format!("secret {in_failover:?}")),
        (
            format!("objectName: '{arn}', objectAlias: x"),
            &format!("secret {:?}", arn.replace("eu-west-1", "eu-central-1")),
        ),
        ("objectName: p, objectType: ssmparameter, objectVersion: 2".into(), "parameter \"p\" (version 2)"),
        (
            "objectName: p, objectType: ssmparameter, objectVersion: 2, failoverObject: {objectVersionLabel: m}".into(),
            "parameter \"p\" (version 2)",
        ),
    ] {
        assert_eq!(standby(&object), Ok(Some(format!("{expected} in eu-central-1"))), "{object}");
    }
    assert_eq!(plan("- {objectName: a, objectType: secretsmanager}").objects[0].standby, None);
}

#[test]
fn a_failover_that_cannot_be_right_is_refused_with_what_to_write() {
    let of_secret = "objectName: a, objectType: secretsmanager";
    for (object, problem) in [
        (format!("{of_secret}, failoverObject: {{objectName: b}}"), "no objectAlias"),
        (
            format!("{of_secret}, objectAlias: x, failoverObject: {{objectName: b, objectVersion: v}}"),
            "another objectVersion",
        ),
        (
            format!("{of_secret}, objectAlias: x, failoverObject: {{objectName: 'arn:aws:secretsmanager:us-east-1:1:secret:b'}}"),
            "is in us-east-1, but failoverRegion is eu-central-1",
        ),
        (
            format!("{of_secret}, objectAlias: x, failoverObject: {{objectName: 'arn:aws:ssm:eu-central-1:1:parameter/b'}}"),
            "contradicts",
        ),
        (
            "objectName: a, objectType: ssmparameter, objectAlias: x, objectVersion: 1, failoverObject: {objectName: b, objectVersion: 1, objectVersionLabel: l}"
                .into(),
            "more than one version",
        ),
    ] {
        let error = standby(&object).expect_err(&object);
        assert!(error.contains(problem), "{error}");
    }
    let alone = parse(&format!("- {{{of_secret}, objectAlias: x, failoverObject: {{objectName: b}}}}"));
    assert!(alone.expect_err("no Region").to_string().contains("no failoverRegion"));
    for object in
        ["failoverObject: {objectName: ''}", "failoverObject: null", "failoverObject: {objectVersionLabel: l}"]
    {
        assert!(parse(&format!("- {{{of_secret}, {object}}}")).is_ok(), "{object}");
    }
    let objects = format!("- {{{of_secret}}}");
    let same = [("objects", objects.as_str()), ("failoverRegion", "eu-west-1")];
    let error = parse_with(&same).expect("the Region is open").plan(&region("eu-west-1")).expect_err("the same");
    assert!(error.to_string().contains("name another one"), "{error}");
}

#[test]
fn pod_identity_is_chosen_as_go_reads_booleans_and_its_address_in_any_case() {
    let read = |parameters: &[(&str, &str)]| {
        let objects = [("objects", "- {objectName: a, objectType: secretsmanager}")];
        parse_with(&[&objects, parameters].concat())
            .map(|class| (class.authentication().origin.clone(), class.warnings.len()))
    };
    let by = |value, address| read(&[("usePodIdentity", value), ("preferredAddressType", address)]);
    for value in ["true", "True", "TRUE", "t", "T", "1"] {
        assert_eq!(by(value, ""), Ok((Origin::PodIdentity(AddressFamily::Any), 0)), "{value}");
    }
    for value in ["false", "False", "FALSE", "f", "F", "0", ""] {
        assert_eq!(by(value, "ipv6"), Ok((Origin::Irsa { role: None }, 0)), "{value}");
    }
    assert_eq!(by("true", "IPv4"), Ok((Origin::PodIdentity(AddressFamily::Ipv4), 0)));
    assert_eq!(by("true", "IPV6"), Ok((Origin::PodIdentity(AddressFamily::Ipv6), 0)));
    assert_eq!(by("true", "ipv5"), Ok((Origin::PodIdentity(AddressFamily::Any), 1)));
    assert_eq!(by("yes", "").expect_err("no boolean").reason(), Reason::InvalidParameter);
}

#[test]
fn a14_thousands_of_unknown_keys_are_a_few_short_warnings() {
    let keys: String = (0..10_000).map(|number| format!(", k{number}: x")).collect();
    let objects =
        format!("- {{objectName: {}, objectType: secretsmanager, objectAlias: a{keys}}}", "n".repeat(100_000));
    let class = parse(&objects).expect("a class");
    let bytes: usize = class.warnings.iter().map(String::len).sum();
    assert!(class.warnings.len() <= 6 && bytes < 2_000, "{} of {bytes}", class.warnings.len());
    assert!(class.warnings[5].starts_with("9995 more unknown keys in \"nnn"), "{}", class.warnings[5]);
    let many: String =
        (0..100).map(|n| format!("- {{objectName: a{n}, objectType: secretsmanager, kee: x}}\n")).collect();
    let warnings = parse(&many).expect("a class").warnings;
    assert_eq!(warnings.len(), 21);
    assert_eq!(warnings[20], "and 80 more; secretmount check shows them all");
}

#[test]
fn unknown_keys_are_pointed_out() {
    let objects =
        "- {objectName: a, objectType: secretsmanager, objectAlais: x, jmesPath: [{path: p, objectAlias: y, mode: 1}]}";
    let class =
        parse_with(&[("objects", objects), ("Region", "eu-west-1"), ("secretProviderClass", "x")]).expect("read");
    assert_eq!(class.warnings.len(), 3, "{:?}", class.warnings);
}

proptest! {
    #[test]
    fn accepted_classes_hold_only_safe_paths(
        objects in "(- \\{objectName: [a./\\\\-]{1,6}, objectType: secretsmanager, objectAlias: ['\"]?[a./]{0,6}['\"]?\\}\n){1,4}",
        translation in "False|_|\\.|/|",
    ) {
        let Ok(class) = parse_with(&[("objects", &objects), ("pathTranslation", &translation)]) else { return Ok(()) };
        let paths: Vec<&RelativePath> = class.objects.iter().flat_map(|entry| &entry.files).map(|file| &file.path).collect();
        for path in &paths {
            prop_assert!(!path.as_str().split('/').any(|element| element == ".." || element == "." || element.is_empty()));
            prop_assert!(!paths.iter().any(|other| path.is_parent_of(other)));
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(objects in "([-a-zA-Z:{}\\[\\],'\"\n ]|\\PC){0,100}", other in "\\PC{0,12}") {
        let _ = parse_with(&[("objects", &objects), ("pathTranslation", &other), ("region", &other)]);
    }
}

#[test]
fn a_refresh_interval_is_the_objects_or_the_classes() {
    let secret = "objectName: x, objectType: secretsmanager";
    let intervals = |class: &str, objects: &[&str]| {
        let objects: String = objects.iter().map(|object| format!("- {{{secret}{object}}}\n")).collect();
        let parameters = [("objects", objects.as_str()), ("refreshInterval", class)];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let class = Class::parse(&parameters.into(), FilePermission::from_mode(0o644).0, &Limits::DEFAULT)?;
        let plan = class.plan(&"eu-west-1".parse().expect("a Region"))?;
        let seconds = plan.objects.iter().map(|object| object.refresh_interval.map(|interval| interval.as_secs()));
        Ok::<_, SpecError>(seconds.collect::<Vec<_>>())
    };
    let pinned = ", objectAlias: p, objectVersion: 11111111-1111-1111-1111-111111111111";
    assert_eq!(intervals("", &[""]).expect("valid"), [None]);
    assert_eq!(
        intervals("10m", &["", ", objectAlias: y, refreshInterval: 30s"]).expect("valid"),
        [Some(600), Some(30)]
    );
    assert_eq!(intervals("never", &[pinned]).expect("valid"), [None]);
    assert_eq!(intervals("", &[&format!("{pinned}, refreshInterval: never")]).expect("valid"), [None]);
    for (class, objects, text) in [
        ("10", [""], "refreshInterval \"10\" is no duration"),
        ("never", [""], "set objectVersion"),
        ("99999999999999999999h", [""], "is no duration"),
        ("-1s", [""], "is no duration"),
        ("１０m", [""], "is no duration"),
        (&"9".repeat(100_000), [""], "is no duration"),
        ("1h", [", refreshInterval: soon"], "refreshInterval \"soon\", which is no duration"),
        ("1h", [", refreshInterval: never"], "fixed version"),
    ] {
        let error = intervals(class, &objects).expect_err(text).to_string();
        assert!(error.contains(text) && error.len() < 700, "{error}");
    }
}
