//! A SecretProviderClass, from its manifest or made on the spot.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The part of a class that reaches a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// `spec.parameters`.
    pub parameters: BTreeMap<String, String>,
}

impl Class {
    /// A class with only `objects`, which is YAML in a text.
    pub fn of(name: &str, objects: &str) -> Self {
        Self { name: name.into(), parameters: BTreeMap::from([("objects".into(), objects.into())]) }
    }

    /// Sets another parameter.
    #[must_use]
    pub fn with(mut self, parameter: &str, value: &str) -> Self {
        self.parameters.insert(parameter.into(), value.into());
        self
    }

    /// Reads a manifest, as `kubectl apply` does.
    ///
    /// # Errors
    /// The parser's sentence where it is no SecretProviderClass.
    pub fn from_manifest(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Manifest {
            kind: String,
            metadata: Metadata,
            spec: Spec,
        }
        #[derive(Deserialize)]
        struct Metadata {
            name: String,
        }
        #[derive(Deserialize)]
        struct Spec {
            parameters: BTreeMap<String, String>,
        }
        let manifest: Manifest = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        if manifest.kind != "SecretProviderClass" {
            return Err(format!("this is a {}, no SecretProviderClass", manifest.kind));
        }
        Ok(Self { name: manifest.metadata.name, parameters: manifest.spec.parameters })
    }
}
