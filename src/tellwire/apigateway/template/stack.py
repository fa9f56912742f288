"""A template as a stack: parameters have values, conditions hold or not, resources exist or not.

The only `Scope`. It also collects the notes of parts that were left out.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from tellwire.apigateway.definition import Api
from tellwire.apigateway.template import intrinsics, references
from tellwire.apigateway.template.intrinsics import Unresolved
from tellwire.apigateway.template.resource import Resource
from tellwire.errors import ConfigError, shown

_FROM_PARAMETER_STORE: Final = "AWS::SSM::Parameter::Value<"


class Stack:
    """The resources of a template that exist, and the values of its names.

    Raises:
        ConfigError: a parameter is given that the template does not have, or the template does not have the required
            form.
    """

    def __init__(self, template: Mapping[str, Any], *, name: str, identity: Api, parameters: Mapping[str, str]) -> None:
        self.notes: list[str] = []
        self.identity = identity
        self._mappings = _section(template, "Mappings")
        self._conditions = _section(template, "Conditions")
        self._declared = _section(template, "Parameters")
        self._parameters = parameters
        for given in parameters:
            if given not in self._declared:
                allowed = ", ".join(self._declared) or "none, the template has no parameters"
                raise ConfigError(f"parameter: got {given!r}; allowed: {allowed}")
        self._pseudo = _pseudo_parameters(name, identity)
        self._open: set[str] = set()
        # A condition cannot depend on a resource: while conditions are evaluated here, there are none.
        self._resources: dict[str, Resource] = {}
        self._resources = {
            logical_id: self._resource(logical_id, written)
            for logical_id, written in template["Resources"].items()
            if self._exists(logical_id, written)
        }

    # --- resources ---------------------------------------------------------------------------------------------------

    def resources(self, *types: str) -> list[Resource]:
        """Return the resources of these types, in the template's order; without types, all."""
        return [resource for resource in self._resources.values() if not types or resource.type in types]

    def resource(self, logical_id: str, resource_type: str) -> Resource | None:
        """Return a resource by its id, if it is of this type."""
        found = self._resources.get(logical_id)
        return found if found is not None and found.type == resource_type else None

    def name(self, resource: Resource) -> str:
        """Return the name of a function or a table, with a note if it has another name on AWS."""
        try:
            references.given_name(resource)
        except Unresolved as unresolved:
            self.note(f"{resource}: its name is not known: {unresolved}; its logical id is used instead")
        return references.name_of(resource)

    def note(self, text: str) -> None:
        """Add a note on a part that was left out."""
        self.notes.append(text)

    # --- values ------------------------------------------------------------------------------------------------------

    def resolve(self, value: Any) -> Any:
        """Return a value with every function in it evaluated.

        Raises:
            Unresolved: it depends on a value that is not known here.
        """
        return intrinsics.resolve(value, self)

    def choose(self, value: Any) -> Any:
        """Return the branch of an `Fn::If`, unresolved; any other value as it is.

        Raises:
            Unresolved: the condition is not known here.
        """
        return intrinsics.choose(value, self)

    def ref(self, name: str) -> Any:
        if name in self._pseudo:
            return self._pseudo[name]
        if name in self._declared:
            return self._parameter(name)
        with self._once(name):
            return references.reference(self._named(name), self.identity)

    def attribute(self, logical_id: str, name: str) -> Any:
        with self._once(logical_id):
            return references.attribute(self._named(logical_id), name, self.identity)

    def condition(self, name: str) -> bool:
        if name not in self._conditions:
            raise Unresolved(f"there is no condition {name!r}")
        with self._once(f"condition {name}"):
            return intrinsics.truth(self._conditions[name], self)

    def mapping(self, name: str, first: str, second: str) -> Any:
        try:
            return self._mappings[name][first][second]
        except (KeyError, TypeError) as error:
            raise Unresolved(f"there is no {name}.{first}.{second} in Mappings") from error

    # --- internal ----------------------------------------------------------------------------------------------------

    def _exists(self, logical_id: str, written: Mapping[str, Any]) -> bool:
        condition = written.get("Condition")
        if condition is None:
            return True
        try:
            return self.condition(str(condition))
        except Unresolved as unresolved:
            self.note(f"{written.get('Type')} {logical_id}: condition {condition} is taken to hold: {unresolved}")
            return True

    def _resource(self, logical_id: str, written: Mapping[str, Any]) -> Resource:
        properties, metadata = written.get("Properties") or {}, written.get("Metadata") or {}
        if not isinstance(written.get("Type"), str) or not isinstance(properties, dict):
            raise ConfigError(f"resource {logical_id}: allowed: a Type that is text, and Properties with names")
        return Resource(
            logical_id, written["Type"], properties, metadata if isinstance(metadata, dict) else {}, self.resolve
        )

    def _named(self, logical_id: str) -> Resource:
        try:
            return self._resources[logical_id]
        except KeyError:
            raise Unresolved(f"{logical_id!r} is neither a parameter nor a resource that exists") from None

    def _parameter(self, name: str) -> Any:
        declared = self._declared[name] if isinstance(self._declared[name], dict) else {}
        kind = str(declared.get("Type", "String"))
        if name in self._parameters:
            value: Any = self._parameters[name]
        elif "Default" not in declared:
            raise Unresolved(f"parameter {name} has no value")
        elif kind.startswith(_FROM_PARAMETER_STORE):
            raise Unresolved(f"parameter {name} has its value in the Parameter Store, at {shown(declared['Default'])}")
        else:
            value = declared["Default"]
        is_list = kind == "CommaDelimitedList" or kind.startswith("List<")
        return [item.strip() for item in str(value).split(",")] if is_list else value

    @contextmanager
    def _once(self, name: str) -> Iterator[None]:
        # Looking up a name that is defined by itself would never end.
        if name in self._open:
            raise Unresolved(f"{name} refers to itself")
        self._open.add(name)
        try:
            yield
        finally:
            self._open.discard(name)


def _section(template: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = template.get(name) or {}
    if not isinstance(section, dict):
        raise ConfigError(f"template: {name}: got {shown(section)}; allowed: an object")
    return section


def _pseudo_parameters(name: str, identity: Api) -> dict[str, Any]:
    return {
        "AWS::AccountId": identity.account_id,
        "AWS::NotificationARNs": [],
        "AWS::Partition": "aws",
        "AWS::Region": identity.region,
        "AWS::StackId": f"arn:aws:cloudformation:{identity.region}:{identity.account_id}:stack/{name}/local",
        "AWS::StackName": name,
        "AWS::URLSuffix": "amazonaws.com",
    }
