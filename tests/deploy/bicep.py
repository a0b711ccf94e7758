"""Prints what a Bicep file describes, as JSON: `bicep.py FILE`.

It compares Container Apps and their environments with the models of Azure's SDK, and prints each property that the SDK
does not know, or that has another type there, on standard error. The SDK is read, not imported, since it needs others.
"""
import ast
import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from pycep import BicepParser

RESOURCES = {
    'Microsoft.App/containerApps': 'ContainerApp',
    'Microsoft.App/managedEnvironments': 'ManagedEnvironment',
}
SCALARS = {'int': int, 'float': (int, float), 'bool': bool, 'str': str}
MODELS = Path(find_spec('azure.mgmt.appcontainers').submodule_search_locations[0], 'models')


def classes(name):
    body = ast.parse((MODELS / name).read_text()).body
    return {node.name: node for node in body if isinstance(node, ast.ClassDef)}


models = classes('_models.py')
enums = {
    name: {line.value.value for line in node.body if isinstance(line, ast.Assign)}
    for name, node in classes('_enums.py').items()
}


def properties(name):
    """The properties of a model and the text of their types, those that it inherits included."""
    node = models.get(name)
    if node is None:
        return {}
    found = {}
    for base in node.bases:
        found |= properties(base.id)
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.value, ast.Call):
            names = [word.value.value for word in line.value.keywords if word.arg == 'name']
            found[names[0] if names else line.target.id] = ast.unparse(line.annotation)
    return found


def compare(value, wanted, place):
    """Yields what is wrong with a value of this type. An expression of Bicep, which is no text, may be anything."""
    if isinstance(value, dict) and value.keys() & {'function', 'operator'}:
        return
    if (inner := re.search(r'list\[(.+)\]', wanted)) is not None:
        if not isinstance(value, list):
            yield f'{place} is no list'
            return
        for number, item in enumerate(value):
            yield from compare(item, inner[1], f'{place}[{number}]')
    elif 'dict[' in wanted:
        return
    elif (model := re.search(r'_models\.(\w+)', wanted)) is None:
        scalar = SCALARS[re.sub(r'Optional\[(.+)\]', r'\1', wanted)]
        if not isinstance(value, scalar) or (isinstance(value, bool) and scalar is not bool):
            yield f'{place} is no {wanted}: {value!r}'
    elif model[1] in enums:
        if value not in enums[model[1]]:
            yield f'{place} is none of {sorted(enums[model[1]])}: {value!r}'
    elif not isinstance(value, dict):
        yield f'{place} is no object'
    else:
        known = properties(model[1])
        for name, member in value.items():
            if name in known:
                yield from compare(member, known[name], f'{place}.{name}')
            else:
                yield f'{place} has no property {name}'


file = BicepParser().parse(file_path=Path(sys.argv[1]))
wrong = []
for name, resource in file['resources'].items():
    if resource['type'] in RESOURCES:
        wrong += compare(resource['config'], f'_models.{RESOURCES[resource["type"]]}', name)
for problem in wrong:
    print(problem, file=sys.stderr)
print(json.dumps(file))
sys.exit(1 if wrong else 0)
