//! Who reads a plugin's field: the roles that its declaration names, and whoever reads the record if it names none.
//!
//! Owners and admins read every field: they have enabled the plugin.

use serde_json::{Map, Value};

use super::actor::Actor;
use super::field::{FieldDefinition, FieldEntity, Model};
use super::permission::Role;

/// Whether an actor reads every field of every plugin.
#[must_use]
pub fn reads_all(actor: &Actor) -> bool {
    actor.roles.iter().any(|role| matches!(role, Role::Owner | Role::Admin))
}

impl FieldDefinition {
    /// Whether an actor who may read the record may read this field of it.
    #[must_use]
    pub fn is_readable_by(&self, actor: &Actor) -> bool {
        let is_own = actor.via_plugin.as_deref().is_some_and(|plugin| plugin == self.namespace);
        let by_role = || actor.roles.iter().any(|role| self.roles.contains(role));
        self.roles.is_empty() || is_own || reads_all(actor) || by_role()
    }
}

impl Model {
    /// The model without the fields that an actor may not read: to them, there are none.
    #[must_use]
    pub fn readable_by(mut self, actor: &Actor) -> Self {
        self.fields.retain(|field| field.is_readable_by(actor));
        self
    }

    /// Takes the plugins' fields of a record out that an actor may not read. Of one that its
    /// plugin no longer declares, nobody knows who may.
    pub fn hide_fields(&self, entity: FieldEntity, actor: &Actor, fields: &mut Map<String, Value>) {
        let is_readable =
            |name: &str| self.field_named(entity, name).is_some_and(|field| field.is_readable_by(actor));
        fields.retain(|name, _| reads_all(actor) || is_readable(name));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;
    use crate::domain::field::{FieldDeclaration, FieldType, Label};
    use crate::domain::field_class::FieldClass;
    use crate::domain::ids::TenantId;
    use crate::ids::SequentialIds;

    fn model() -> Model {
        let field = |name: &str, roles: &[Role]| {
            let declared = FieldDeclaration {
                entity: FieldEntity::Order,
                name: name.to_owned(),
                kind: FieldType::Integer,
                label: Label::new("Field", "字段"),
                roles: roles.to_vec(),
                class: FieldClass::Basic,
            };
            declared.into_definition("coffee")
        };
        Model { fields: vec![field("stamps", &[]), field("margin", &[Role::Manager])], ..Model::default() }
    }

    fn seen(actor: &Actor) -> Vec<String> {
        let fields = json!({"coffee.stamps": 1, "coffee.margin": 2, "coffee.forgotten": 3});
        let mut fields = fields.as_object().unwrap().clone();
        model().hide_fields(FieldEntity::Order, actor, &mut fields);
        fields.keys().cloned().collect()
    }

    #[test]
    fn a_field_is_read_by_the_roles_that_its_declaration_names() {
        let actor = Actor::operator(TenantId::new(&SequentialIds::default(), Timestamp::default()));
        let with = |role| Actor { roles: vec![role], ..actor.clone() };
        assert_eq!(seen(&actor), ["coffee.stamps", "coffee.margin", "coffee.forgotten"]);
        assert_eq!(seen(&with(Role::Manager)), ["coffee.stamps", "coffee.margin"]);
        assert_eq!(seen(&with(Role::Agent)), ["coffee.stamps"]);
        let through = |plugin: &str| Actor { via_plugin: Some(plugin.into()), ..with(Role::Agent) };
        assert_eq!(seen(&through("coffee")), ["coffee.stamps", "coffee.margin"]);
        assert_eq!(seen(&through("tea")), ["coffee.stamps"]);
        assert_eq!(model().readable_by(&with(Role::Agent)).fields.len(), 1);
    }
}
