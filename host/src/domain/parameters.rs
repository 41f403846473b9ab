//! The parameters of a grant: which fields, kinds of records, hosts and plugins it opens, and how much of it.
//!
//! A plugin asks for a grant with parameters, and the tenant's administrator approves these or narrower ones.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::check::Faults;
use super::code::FaultCode;
use super::field_class::{FieldClass, RecordKind};
use super::grant::Grant;

/// Names in one list.
pub const NAMES_MAX: usize = 100;
/// Bytes of one name.
pub const NAME_BYTES_MAX: usize = 260;
/// The port of a host that names none.
const HTTPS: &str = "443";

/// How often something may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How often.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub count: u32,
    /// In what time.
    pub per: Per,
}

/// A span of time in which something is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// A second.
    Second,
    /// 60 seconds.
    Minute,
    /// 3,600 seconds.
    Hour,
    /// 86,400 seconds.
    Day,
}

impl Per {
    /// Every one, the shortest first.
    pub const ALL: &'static [Self] = &[Self::Second, Self::Minute, Self::Hour, Self::Day];

    /// How long it is.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }

    /// The name in manifests and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

impl Rate {
    /// Whether whoever keeps this rate keeps the other one too: no more, in no less time.
    #[must_use]
    pub fn is_within(self, other: Self) -> bool {
        self.count <= other.count && self.per.seconds() >= other.per.seconds()
    }

    /// A rate that is within both.
    fn and(self, other: Self) -> Self {
        let per = if self.per.seconds() >= other.per.seconds() { self.per } else { other.per };
        Self { count: self.count.min(other.count), per }
    }
}

/// `60/minute`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.per.as_str())
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (count, per) = text.split_once('/')?;
            let per = Per::ALL.iter().copied().find(|one| one.as_str() == per)?;
            Some(Self { count: count.parse().ok()?, per })
        };
        read().ok_or_else(|| format!("`{text}` is no rate such as 60/minute"))
    }
}

/// How far a grant goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Parameters {
    /// Classes of fields that it opens, for a grant over records.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<FieldClass>)]
    pub classes: BTreeSet<FieldClass>,
    /// Single fields that it opens beside those classes, such as `name` or `custom_fields.birthday`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub fields: BTreeSet<String>,
    /// Kinds of records that it opens, for a grant over several.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub entities: BTreeSet<String>,
    /// Hosts that it opens.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub hosts: BTreeSet<String>,
    /// Plugins that it opens.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub plugins: BTreeSet<String>,
    /// Records, values or calls; without a rate of its own, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// Parameters as they are asked for or approved; what is absent has a default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StatedParameters {
    /// Classes of fields; `basic` always is among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 8)]
    pub classes: Option<Vec<FieldClass>>,
    /// Single fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub fields: Option<Vec<String>>,
    /// Kinds of records.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub entities: Option<Vec<String>>,
    /// Hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub hosts: Option<Vec<String>>,
    /// Plugins.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub plugins: Option<Vec<String>>,
    /// Records, values or calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

/// A grant as a tenant approves it. Parameters that are absent are as the plugin asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantRequest {
    /// The grant.
    pub name: Grant,
    /// How far it goes: at most as far as is asked for.
    #[serde(default)]
    pub parameters: StatedParameters,
}

impl From<Grant> for GrantRequest {
    fn from(name: Grant) -> Self {
        Self { name, parameters: StatedParameters::default() }
    }
}

impl StatedParameters {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        *self == Self::default()
    }

    /// What a manifest asks for with these: `basic` fields, every kind of record and no rate of its
    /// own, if it does not say. Hosts and plugins must be named: a grant over none of them opens nothing.
    pub fn asked(self, grant: Grant, pointer: &str, faults: &mut Faults) -> Parameters {
        self.check(grant, pointer, faults);
        for (member, names) in [("hosts", &self.hosts), ("plugins", &self.plugins)] {
            if grant.takes(member) && names.as_ref().is_none_or(Vec::is_empty) {
                faults.plain(format!("{pointer}/{member}"), FaultCode::Required);
            }
        }
        let all = grant.entities().iter().map(ToString::to_string);
        Parameters {
            classes: self.classes.into_iter().flatten().chain(basic_of(grant)).collect(),
            fields: self.fields.into_iter().flatten().collect(),
            entities: self.entities.map_or_else(|| all.collect(), BTreeSet::from_iter),
            hosts: self.hosts.into_iter().flatten().collect(),
            plugins: self.plugins.into_iter().flatten().collect(),
            rate: self.rate,
        }
    }

    /// What a tenant approves of `asked` with these: all of it, where they do not say. More
    /// than was asked for is a fault.
    pub fn approved(
        self,
        grant: Grant,
        asked: &Parameters,
        pointer: &str,
        faults: &mut Faults,
    ) -> Parameters {
        self.check(grant, pointer, faults);
        let or_asked = |stated: Option<Vec<String>>, asked: &BTreeSet<String>| {
            stated.map_or_else(|| asked.clone(), BTreeSet::from_iter)
        };
        let parameters = Parameters {
            classes: match self.classes {
                Some(classes) => classes.into_iter().chain(basic_of(grant)).collect(),
                None => asked.classes.clone(),
            },
            fields: or_asked(self.fields, &asked.fields),
            entities: or_asked(self.entities, &asked.entities),
            hosts: or_asked(self.hosts, &asked.hosts),
            plugins: or_asked(self.plugins, &asked.plugins),
            rate: self.rate.or(asked.rate),
        };
        for (member, value) in
            parameters.beyond(grant, asked).into_iter().filter(|(member, _)| grant.takes(member))
        {
            let grant = format!("{grant} {member}={value}");
            faults.plain(format!("{pointer}/{member}"), FaultCode::NotAskedFor { grant });
        }
        parameters
    }

    /// Notes parameters that do not go with the grant, and names that mean nothing.
    fn check(&self, grant: Grant, pointer: &str, faults: &mut Faults) {
        let record = grant.record();
        let is_field = |name: &str| record.is_some_and(|record| record.has(name));
        let is_entity = |name: &str| grant.entities().contains(&name);
        let is_plugin = |name: &str| {
            name.len() <= 40
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        for (member, is_stated) in [
            ("classes", self.classes.is_some()),
            ("fields", self.fields.is_some()),
            ("entities", self.entities.is_some()),
            ("hosts", self.hosts.is_some()),
            ("plugins", self.plugins.is_some()),
        ] {
            if is_stated && !grant.takes(member) {
                faults.plain(format!("{pointer}/{member}"), FaultCode::NoSuchParameter);
            }
        }
        let is_host = |name: &str| host_parts(name).is_some();
        let mut check = |member: &str, names: &Option<Vec<String>>, is_known: &dyn Fn(&str) -> bool| {
            if grant.takes(member) {
                check_names(names.as_deref(), &format!("{pointer}/{member}"), is_known, faults);
            }
        };
        check("fields", &self.fields, &is_field);
        check("entities", &self.entities, &is_entity);
        check("hosts", &self.hosts, &is_host);
        check("plugins", &self.plugins, &is_plugin);
        if let Some(rate) = self.rate {
            faults.range(&format!("{pointer}/rate/count"), rate.count.into(), 1, 1_000_000);
        }
    }
}

fn basic_of(grant: Grant) -> Option<FieldClass> {
    grant.record().map(|_| FieldClass::Basic)
}

fn check_names(
    names: Option<&[String]>,
    pointer: &str,
    is_known: &dyn Fn(&str) -> bool,
    faults: &mut Faults,
) {
    let names = names.unwrap_or_default();
    faults.count(pointer, names.len(), NAMES_MAX);
    for (position, name) in names.iter().enumerate().take(NAMES_MAX) {
        if name.len() > NAME_BYTES_MAX || !is_known(name) {
            let name = name.chars().take(60).collect();
            faults.plain(format!("{pointer}/{position}"), FaultCode::UnknownName { name });
        }
    }
}

/// Name and port of `api.example.com`, `*.example.com` or `api.example.com:8443`; nothing for an
/// address, a name in capitals, or one without a dot.
fn host_parts(host: &str) -> Option<(&str, &str)> {
    let (name, port) = host.split_once(':').unwrap_or((host, HTTPS));
    let is_port = port.parse::<u16>().is_ok_and(|number| number > 0) && !port.starts_with(['0', '+']);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let plain = name.strip_prefix("*.").unwrap_or(name);
    let last = plain.rsplit('.').next().unwrap_or_default();
    let is_name =
        plain.contains('.') && plain.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit());
    (is_port && is_name).then_some((name, port))
}

/// Whether everything that `host` stands for is among what `pattern` stands for.
fn covers_host(pattern: &str, host: &str) -> bool {
    let (Some((pattern, at)), Some((name, port))) = (host_parts(pattern), host_parts(host)) else {
        return false;
    };
    let is_below = |suffix: &str| name.strip_suffix(suffix).is_some_and(|head| head.ends_with('.'));
    at == port && (pattern == name || pattern.strip_prefix("*.").is_some_and(is_below))
}

impl Parameters {
    /// Whether a field that a record has at `path` is opened, if its class is `class`.
    #[must_use]
    pub fn opens(&self, class: FieldClass, path: &str) -> bool {
        self.classes.contains(&class) || self.fields.contains(path)
    }

    /// Whether a host is opened: a name, and a port if it is not 443.
    #[must_use]
    pub fn opens_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|pattern| covers_host(pattern, host))
    }

    /// What of these goes beyond `others`: the member, and the value in it.
    #[must_use]
    pub fn beyond(&self, grant: Grant, others: &Self) -> Vec<(&'static str, String)> {
        let record = grant.record();
        let classes = self.classes.difference(&others.classes).map(|class| ("classes", class.to_string()));
        let fields = self.fields.iter().filter(|field| !others.opens_always(record, field));
        let fields = fields.map(|field| ("fields", field.clone()));
        let entities = self.entities.difference(&others.entities).map(|name| ("entities", name.clone()));
        let hosts = self.hosts.iter().filter(|host| !others.opens_host(host));
        let hosts = hosts.map(|host| ("hosts", host.clone()));
        let plugins = self.plugins.difference(&others.plugins).map(|name| ("plugins", name.clone()));
        let rate = match (self.rate, others.rate) {
            (Some(rate), Some(most)) if !rate.is_within(most) => Some(rate.to_string()),
            (None, Some(_)) => Some("any".to_owned()),
            (Some(_), Some(_) | None) | (None, None) => None,
        };
        let rate = rate.map(|rate| ("rate", rate));
        classes.chain(fields).chain(entities).chain(hosts).chain(plugins).chain(rate).collect()
    }

    /// Whether the field at `path` is opened whatever its definition says.
    fn opens_always(&self, record: Option<RecordKind>, path: &str) -> bool {
        let class = record.and_then(|record| record.class_of(path));
        self.fields.contains(path)
            || match class {
                Some(class) => self.classes.contains(&class),
                None => FieldClass::ALL.iter().all(|class| self.classes.contains(class)),
            }
    }

    /// Parameters that go no further than either.
    #[must_use]
    pub fn and(&self, grant: Grant, other: &Self) -> Self {
        let record = grant.record();
        let both = self.fields.union(&other.fields);
        let both = both.filter(|path| self.opens_always(record, path) && other.opens_always(record, path));
        let hosts = self.hosts.union(&other.hosts);
        let hosts = hosts.filter(|host| self.opens_host(host) && other.opens_host(host));
        Self {
            classes: self.classes.intersection(&other.classes).copied().collect(),
            fields: both.cloned().collect(),
            entities: self.entities.intersection(&other.entities).cloned().collect(),
            hosts: hosts.cloned().collect(),
            plugins: self.plugins.intersection(&other.plugins).cloned().collect(),
            rate: match (self.rate, other.rate) {
                (Some(one), Some(other)) => Some(one.and(other)),
                (one, other) => one.or(other),
            },
        }
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// `classes=basic,contact fields=name rate=60/minute`; empty if nothing is said.
impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes: Vec<&str> = self.classes.iter().map(|class| class.as_str()).collect();
        let lists = [
            ("classes", classes),
            ("fields", self.fields.iter().map(String::as_str).collect()),
            ("entities", self.entities.iter().map(String::as_str).collect()),
            ("hosts", self.hosts.iter().map(String::as_str).collect()),
            ("plugins", self.plugins.iter().map(String::as_str).collect()),
        ];
        let mut gap = "";
        for (name, list) in lists.iter().filter(|(_, list)| !list.is_empty()) {
            write!(f, "{gap}{name}={}", list.join(","))?;
            gap = " ";
        }
        match self.rate {
            Some(rate) => write!(f, "{gap}rate={rate}"),
            None => Ok(()),
        }
    }
}

/// Reads `customers:read classes=basic,contact rate=60/minute`, as commands take it.
impl FromStr for GrantRequest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let name: Grant = words.next().unwrap_or_default().parse().map_err(|error| format!("{error}"))?;
        let mut stated = StatedParameters::default();
        for word in words {
            let (member, values) = word.split_once('=').ok_or_else(|| format!("`{word}` has no `=`"))?;
            let list = || values.split(',').filter(|value| !value.is_empty()).map(str::to_owned).collect();
            match member {
                "classes" => {
                    let classes =
                        values.split(',').filter(|value| !value.is_empty()).map(FieldClass::from_str);
                    stated.classes =
                        Some(classes.collect::<Result<_, _>>().map_err(|error| error.to_string())?);
                }
                "fields" => stated.fields = Some(list()),
                "entities" => stated.entities = Some(list()),
                "hosts" => stated.hosts = Some(list()),
                "plugins" => stated.plugins = Some(list()),
                "rate" => stated.rate = Some(values.parse()?),
                _ => return Err(format!("a grant has no `{member}`")),
            }
        }
        Ok(Self { name, parameters: stated })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Parameters {
        let request: GrantRequest = text.parse().unwrap();
        let mut faults = Faults::default();
        let parameters = request.parameters.asked(request.name, "", &mut faults);
        assert!(faults.is_empty(), "{faults:?}");
        parameters
    }

    fn approve(text: &str, asked: &Parameters) -> Result<Parameters, String> {
        let request: GrantRequest = text.parse().unwrap();
        let mut faults = Faults::default();
        let parameters = request.parameters.approved(request.name, asked, "", &mut faults);
        faults.finish().map(|()| parameters).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn a_grant_opens_basic_fields_if_it_does_not_say() {
        assert_eq!(asked("customers:read").to_string(), "classes=basic");
        assert_eq!(asked("timeline:read").to_string(), "classes=basic entities=behaviour,interaction,plugin");
        assert_eq!(asked("kv:own").to_string(), "");
    }

    #[test]
    fn a_tenant_approves_a_part_and_never_more() {
        let asked = asked("customers:read classes=contact,personal fields=custom_fields.debt rate=60/minute");
        assert_eq!(approve("customers:read", &asked).unwrap(), asked);
        let part = approve("customers:read classes=contact fields= rate=6/minute", &asked).unwrap();
        assert_eq!(part.to_string(), "classes=basic,contact rate=6/minute");
        // One field of a class that was asked for.
        let one = approve("customers:read classes= fields=name", &asked).unwrap();
        assert_eq!(one.to_string(), "classes=basic fields=name rate=60/minute");
        for more in ["classes=financial", "fields=custom_fields.other", "rate=61/minute", "rate=1/second"] {
            let refused = approve(&format!("customers:read {more}"), &asked).unwrap_err();
            assert!(refused.contains("not_asked_for"), "{more}: {refused}");
        }
    }

    #[test]
    fn parameters_that_mean_nothing_are_refused() {
        let everything =
            Parameters { classes: FieldClass::ALL.iter().copied().collect(), ..Parameters::default() };
        for wrong in [
            "kv:own classes=basic",
            "customers:read hosts=a.example",
            "customers:read entities=interaction",
            "customers:read fields=nothing",
            "timeline:read entities=order",
            "kv:own rate=0/day",
            "plugins:call hosts=a.example",
            "http:send plugins=a",
        ] {
            assert!(approve(wrong, &everything).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_and_plugins_are_asked_for_by_name() {
        for (wrong, place) in [
            ("http:send", "/hosts"),
            ("http:send hosts=", "/hosts"),
            ("http:send rate=1/day", "/hosts"),
            ("plugins:call", "/plugins"),
            ("plugins:call plugins=", "/plugins"),
        ] {
            let request: GrantRequest = wrong.parse().unwrap();
            let mut faults = Faults::default();
            request.parameters.asked(request.name, "", &mut faults);
            let faults: Vec<_> =
                faults.into_vec().into_iter().map(|fault| (fault.pointer, fault.code.to_string())).collect();
            assert_eq!(faults, [(place.to_owned(), "required".to_owned())], "{wrong}");
        }
        assert_eq!(asked("plugins:call plugins=tea").to_string(), "plugins=tea");
    }

    #[test]
    fn a_host_is_a_name() {
        for good in ["api.example.com", "xn--fiqs8s.example", "a-1.b2", "*.example.com", "a.example.com:8443"]
        {
            assert!(host_parts(good).is_some(), "{good}");
        }
        for bad in [
            "localhost",
            "10.0.0.1",
            "*",
            "*.com.",
            "a.*.com",
            "A.example",
            "a..b",
            "-a.b",
            "",
            "a.b:0",
            "a.b:",
            "a.b:x",
        ] {
            assert!(host_parts(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_what_is_below_it() {
        let asked = asked("http:send hosts=*.roasters.example,api.beans.example");
        for within in ["hosts=a.roasters.example,*.b.roasters.example", "hosts=api.beans.example", "hosts="] {
            assert!(approve(&format!("http:send {within}"), &asked).is_ok(), "{within}");
        }
        for beyond in
            ["roasters.example", "evilroasters.example", "a.roasters.example:8443", "*.beans.example"]
        {
            assert!(approve(&format!("http:send hosts={beyond}"), &asked).is_err(), "{beyond}");
        }
        assert!(asked.opens_host("x.y.roasters.example"));
        assert!(!asked.opens_host("beans.example"));
    }

    #[test]
    fn what_two_share_is_in_both() {
        let one = asked("customers:read classes=contact fields=name,custom_fields.debt rate=10/hour");
        let two = asked("customers:read classes=personal fields=custom_fields.debt rate=5/minute");
        let both = one.and(Grant::CustomersRead, &two);
        assert_eq!(both.to_string(), "classes=basic fields=custom_fields.debt,name rate=5/hour");
        assert!(both.beyond(Grant::CustomersRead, &one).is_empty());
        assert!(both.beyond(Grant::CustomersRead, &two).is_empty());
    }

    #[test]
    fn a_request_is_read_from_words() {
        let request: GrantRequest = "customers:read classes=contact fields=name rate=7/day".parse().unwrap();
        assert_eq!(request.parameters.classes, Some(vec![FieldClass::Contact]));
        assert_eq!(request.parameters.fields, Some(vec!["name".to_owned()]));
        assert!("customers:read classes=secret".parse::<GrantRequest>().is_err());
        assert!("customers:read rate=often".parse::<GrantRequest>().is_err());
        assert!("customers:read colour=red".parse::<GrantRequest>().is_err());
        assert!("customers:all".parse::<GrantRequest>().is_err());
    }
}
