"""A template as a stack: parameters have values, conditions hold or not, resources exist or not.

The only `Scope`. It also collects the notes of parts that were left out. A nested stack is a stack of its own, whose
resources count as the outer one's; so is a stack beside it whose exports it imports, as in an app of the CDK.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from tellwire.apigateway.definition import Api
from tellwire.apigateway.template import intrinsics, references
from tellwire.apigateway.template.intrinsics import Unresolved, text
from tellwire.apigateway.template.parameters import Parameters
from tellwire.apigateway.template.resource import Resource
from tellwire.errors import ConfigError, shown

_OUTPUTS: Final = "Outputs."

Opener = Callable[["Stack", Resource], "Stack | None"]
"""A function that reads the template of a nested stack; None if it is not on this machine."""


class Stack:
    """The resources of a template that exist, and the values of its names.

    Raises:
        ConfigError: a parameter is given that the template does not have, or the template does not have the required
            form.
    """

    def __init__(
        self,
        template: Mapping[str, Any],
        *,
        name: str,
        identity: Api,
        parameters: Mapping[str, str],
        outer: "Stack | None" = None,
        open_nested: Opener | None = None,
    ) -> None:
        self.name = name
        self.notes: list[str] = outer.notes if outer is not None else []
        self.identity = identity
        # Of all stacks: ids and notes are the whole project's.
        self._api_ids: dict[tuple[str, str], str] = outer._api_ids if outer is not None else {}
        self._beside: list[Stack] = outer._beside if outer is not None else []
        self._is_outermost = outer is None
        self._mappings = _section(template, "Mappings")
        self._conditions = _section(template, "Conditions")
        self._outputs = _section(template, "Outputs")
        self._parameters = Parameters(_section(template, "Parameters"), parameters)
        for missing in self._parameters.missing:
            self.note(
                f"parameter {missing} has no value, so AWS would not deploy this; give it one with "
                f"--parameter {missing}=…"
            )
        self._pseudo = _pseudo_parameters(name, identity)
        self._open: set[str] = set()
        # A condition cannot depend on a resource: while conditions are evaluated here, there are none.
        self._resources: dict[str, Resource] = {}
        self._open_nested: Opener | None = None
        self._nested: dict[str, Stack | None] = {}
        self._resources = {
            logical_id: self._resource(logical_id, written)
            for logical_id, written in template["Resources"].items()
            if self._exists(logical_id, written)
        }
        self._open_nested = open_nested

    # --- resources ---------------------------------------------------------------------------------------------------

    def resources(self, *types: str) -> list[Resource]:
        """Return the resources of these types, in the template's order; without types, all.

        Those of nested stacks follow, and those of stacks beside; a nested stack that is read is no resource itself.
        """
        own = [each for each in self._resources.values() if self._nested_at(each.logical_id) is None]
        found = [each for each in own if not types or each.type in types]
        for nested in self._nested.values():
            found += nested.resources(*types) if nested is not None else []
        for beside in self._beside if self._is_outermost else ():
            found += beside.resources(*types)
        return found

    def add(self, beside: "Stack") -> None:
        """Add a stack beside this one: its resources count, and its exports can be imported."""
        self._beside.append(beside)

    def resource(self, logical_id: str, resource_type: str) -> Resource | None:
        """Return a resource by its id, if it is of this type; the first one of that id in all stacks."""
        return next((each for each in self.resources(resource_type) if each.logical_id == logical_id), None)

    def api_id(self, api: Resource) -> str:
        """Return the local id of a WebSocket API."""
        key = (api.stack, api.logical_id)
        if key not in self._api_ids:
            # The first one's is that of an API without a template.
            self._api_ids[key] = f"{self.identity.api_id[:-2]}{len(self._api_ids):02}"
        return self._api_ids[key]

    def name_of(self, resource: Resource) -> str:
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
        if name in self._parameters:
            return self._parameters.value(name, self.stored)
        with self._once(name):
            resource = self._named(name)
            return references.reference(resource, self._identity_of(resource))

    def attribute(self, logical_id: str, name: str) -> Any:
        with self._once(logical_id):
            resource = self._named(logical_id)
            if name.startswith(_OUTPUTS) and (nested := self._nested_at(logical_id)) is not None:
                return nested.output(name.removeprefix(_OUTPUTS))
            return references.attribute(resource, name, self._identity_of(resource))

    def output(self, name: str) -> Any:
        """Return the value of an output, which is an attribute of a nested stack."""
        match self._outputs.get(name):
            case {"Value": value}:
                return self.resolve(value)
            case _:
                raise Unresolved(f"there is no output {name!r}")

    def stored(self, name: str) -> str:
        """Return the value of a parameter of the Parameter Store that the template itself makes."""
        for resource in self.resources(references.PARAMETER):
            with self._once(f"{resource}"):
                if references.given_name(resource) == name:
                    return text(resource.resolved("Value"))
        raise Unresolved(f"the Parameter Store has {shown(name)}, and the template does not make it")

    def imported(self, name: str) -> Any:
        with self._once(f"export {name}"):
            for stack in self._beside:
                if (value := stack.exported(name)) is not None:
                    return value
        raise Unresolved(f"Fn::ImportValue {shown(name)} cannot be resolved locally")

    def exported(self, name: str) -> Any:
        """Return the value of an export; None if there is no such export.

        Raises:
            Unresolved: its value is not known here.
        """
        for output in self._outputs.values():
            match output:
                case {"Export": {"Name": key}, "Value": value} if self.resolve(key) == name:
                    return self.resolve(value)
        return None

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
        metadata = metadata if isinstance(metadata, dict) else {}
        return Resource(
            logical_id,
            written["Type"],
            properties,
            metadata,
            self.resolve,
            self.choose,
            self.name,
            _names(written.get("DependsOn")),
        )

    def _named(self, logical_id: str) -> Resource:
        try:
            return self._resources[logical_id]
        except KeyError:
            raise Unresolved(f"{logical_id!r} is neither a parameter nor a resource that exists") from None

    def _identity_of(self, resource: Resource) -> Api:
        if not references.is_websocket_api(resource):
            return self.identity
        return replace(self.identity, api_id=self.api_id(resource))

    def _nested_at(self, logical_id: str) -> "Stack | None":
        """Return the stack that is nested at a resource. It is read when it is first needed."""
        if self._open_nested is None or logical_id in self._nested:
            return self._nested.get(logical_id)
        if (resource := self._resources[logical_id]).type not in (references.APPLICATION, references.NESTED_STACK):
            return None
        self._nested[logical_id] = None
        self._nested[logical_id] = self._open_nested(self, resource)
        return self._nested[logical_id]

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


def _names(written: Any) -> tuple[str, ...]:
    match written:
        case str():
            return (written,)
        case list():
            return tuple(str(each) for each in written)
        case _:
            return ()


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
