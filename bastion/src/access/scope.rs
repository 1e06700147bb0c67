//! Which policies can say anything about a question at all, by their first line.
//!
//! Owns the index by principal and resource, so that a question among a thousand policies is put to
//! the few whose scope it meets. It may give a policy too many, never one too few: the engine
//! evaluates what is given as it would among all.

use std::collections::HashMap;

use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};

use super::Action;

/// A type of the schema; cheaper to compare than the engine's name of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    User,
    Group,
    Label,
    Target,
    Account,
    Session,
    Hold,
    Request,
    Bastion,
}

impl Type {
    pub(super) const ALL: [Self; 9] = [
        Self::User,
        Self::Group,
        Self::Label,
        Self::Target,
        Self::Account,
        Self::Session,
        Self::Hold,
        Self::Request,
        Self::Bastion,
    ];

    /// The name in policies.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
            Self::Label => "Label",
            Self::Target => "Target",
            Self::Account => "Account",
            Self::Session => "Session",
            Self::Hold => "Hold",
            Self::Request => "Request",
            Self::Bastion => "Bastion",
        }
    }

    pub(super) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What a scope asks for, apart from types: this entity or one below it, or anything.
type Bound = Option<EntityUid>;

/// The first line of a policy.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) principal: Bound,
    pub(super) resource: Bound,
    /// A bit for each; `None` for every action.
    actions: Option<u32>,
}

impl Scope {
    pub(super) fn of(policy: &Policy) -> Self {
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
            PrincipalConstraint::In(uid)
            | PrincipalConstraint::Eq(uid)
            | PrincipalConstraint::IsIn(_, uid) => Some(uid),
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
            ResourceConstraint::In(uid)
            | ResourceConstraint::Eq(uid)
            | ResourceConstraint::IsIn(_, uid) => Some(uid),
        };
        // The schema has no groups of actions, so that `in` an action is that action.
        let bit = |uid: &EntityUid| {
            let mut known = Action::ALL.into_iter();
            let action = known.find(|action| action.name() == id_of(uid));
            action.map_or(0, bit_of)
        };
        let actions = match policy.action_constraint() {
            ActionConstraint::Any => None,
            ActionConstraint::Eq(uid) => Some(bit(&uid)),
            ActionConstraint::In(uids) => Some(uids.iter().map(bit).fold(0, |all, bit| all | bit)),
        };
        Self {
            principal,
            resource,
            actions,
        }
    }

    /// Whether the policy says for which actions it is.
    pub(super) fn names_actions(&self) -> bool {
        self.actions.is_some()
    }

    /// Whether the policy can be about this action.
    pub(super) fn has_action(&self, action: Action) -> bool {
        self.actions
            .is_none_or(|actions| actions & bit_of(action) != 0)
    }
}

/// Positions of policies by their scopes.
#[derive(Debug, Default)]
pub(super) struct Index {
    scopes: Vec<Scope>,
    /// What some scope is bound to, by type and id, and its number: of a person's hundred groups, few
    /// are.
    bounds: [HashMap<String, u32>; Type::ALL.len()],
    /// The number of the last of them.
    last: u32,
    /// By principal and resource.
    by_bounds: HashMap<(u32, u32), Vec<usize>>,
}

impl Index {
    pub(super) fn push(&mut self, scope: Scope) {
        let at = self.scopes.len();
        let principal = self.number(scope.principal.as_ref());
        let resource = self.number(scope.resource.as_ref());
        let policies = self.by_bounds.entry((principal, resource)).or_default();
        policies.push(at);
        self.scopes.push(scope);
    }

    fn number(&mut self, bound: Option<&EntityUid>) -> u32 {
        let Some(uid) = bound else {
            return ANYTHING;
        };
        // Of a type that is not of the schema, which the validator refuses, there is nothing.
        let kind = Type::of(&uid.type_name().to_string());
        let Some(ids) = kind.and_then(|kind| self.bounds.get_mut(kind as usize)) else {
            return NOTHING;
        };
        let next = self.last + 1;
        let number = *ids.entry(id_of(uid)).or_insert(next);
        self.last = self.last.max(number);
        number
    }

    /// The scope at this position.
    pub(super) fn scope(&self, at: usize) -> Option<&Scope> {
        self.scopes.get(at)
    }

    /// The number of an entity that some scope is bound to.
    pub(super) fn known(&self, kind: Type, id: &str) -> Option<u32> {
        self.bounds.get(kind as usize)?.get(id).copied()
    }

    /// The positions of the policies to ask, in their order. `principals` and `resources` are the
    /// entities with everything that they are in, by type and ids.
    pub(super) fn find<'a>(
        &self,
        principals: impl IntoIterator<Item = (Type, &'a str)>,
        resources: impl IntoIterator<Item = (Type, &'a str)>,
        action: Action,
    ) -> Vec<usize> {
        let known = |(kind, id): (Type, &str)| self.known(kind, id);
        let principals: Vec<u32> = std::iter::once(ANYTHING)
            .chain(principals.into_iter().filter_map(known))
            .collect();
        let mut found = Vec::new();
        for resource in std::iter::once(ANYTHING).chain(resources.into_iter().filter_map(known)) {
            for principal in &principals {
                let at = self.by_bounds.get(&(*principal, resource));
                found.extend(at.into_iter().flatten().filter(|at| {
                    let scope = self.scopes.get(**at);
                    scope.is_some_and(|scope| scope.has_action(action))
                }));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// The id of an entity as it is, without escapes.
pub(super) fn id_of(uid: &EntityUid) -> String {
    AsRef::<str>::as_ref(uid.id()).to_owned()
}

/// The bit of an action in a scope.
fn bit_of(action: Action) -> u32 {
    1 << (action as u32)
}

/// The number of a scope that is bound to nothing.
const ANYTHING: u32 = 0;
/// The number of a scope that nothing meets.
const NOTHING: u32 = u32::MAX;
