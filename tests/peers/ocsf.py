"""Checks events of OCSF, a line each on standard input, against the schema that is published for the version they name.

Prints a line for each mistake: the message of the event, where it is, and what is wrong.
"""

import json
import sys

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

schemas = {}


def validator(event):
    version, profiles = event["metadata"]["version"], event["metadata"].get("profiles", [])
    key = (version, event["class_uid"], *profiles)
    if key not in schemas:
        published = get_ocsf_schema(version)
        # It has the class that all others are made from beside them.
        published["classes"]["base_event"] = published["base_event"]
        schema = OcsfJsonSchemaEmbedded(published)
        name = schema.lookup_class_name_from_uid(event["class_uid"])
        schemas[key] = Draft202012Validator(schema.get_class_schema(name, profiles))
    return schemas[key]


checked = 0
for line in sys.stdin:
    event = json.loads(line)
    wrong = [f"{'/'.join(map(str, error.path))}: {error.message}" for error in validator(event).iter_errors(event)]
    # What the schema says in words only.
    if event["category_uid"] != event["class_uid"] // 1000:
        wrong.append("category_uid is not that of the class")
    if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
        wrong.append("type_uid is not that of class and activity")
    for what in wrong:
        print(f"{event['message']}: {what}"[:500])
    checked += 1
print(f"checked {checked}")
