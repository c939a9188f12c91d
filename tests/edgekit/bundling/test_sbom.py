import json
import re

import pytest

from device_runtime.contract.manifest import BlobRef, SystemPackage
from edgekit.bundling.sbom import Part, sbom
from edgekit.bundling.wheel_facts import WheelFacts

MODEL = BlobRef("model", f"sha256:{'1' * 64}", 10, "app.tflite")


def part(name, version="1.0", expression="", licences=(), digit="2"):
    blob = BlobRef("wheel", f"sha256:{digit * 64}", 10, f"{name}-{version}-py3-none-any.whl")
    return Part(blob, WheelFacts(name, version, expression, tuple(licences), "", 1, 1))


RUNTIME = part("edgekit-device-runtime", expression="Apache-2.0")
PARTS = (part("numpy", "1.26.4", licences=["BSD License"]), part("thing", "1.0+cpu", "MIT", digit="3"), part("bare"))
SYSTEM = (SystemPackage("cv2", "python3-opencv"),)


@pytest.fixture
def bill():
    return json.loads(sbom("app", "1.0", MODEL, RUNTIME, PARTS, SYSTEM))


def test_all_that_runs_is_listed_with_its_hash_and_licence(bill):
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert bill["metadata"]["component"] == {
        "type": "application",
        "bom-ref": "application",
        "name": "app",
        "version": "1.0",
    }
    model, runtime, numpy, thing, bare, opencv = bill["components"]
    assert (model["type"], model["hashes"]) == ("machine-learning-model", [{"alg": "SHA-256", "content": "1" * 64}])
    assert "purl" not in runtime
    assert (numpy["purl"], numpy["licenses"]) == ("pkg:pypi/numpy@1.26.4", [{"license": {"name": "BSD License"}}])
    assert (thing["purl"], thing["licenses"]) == ("pkg:pypi/thing@1.0%2Bcpu", [{"expression": "MIT"}])
    assert "licenses" not in bare
    assert (opencv["purl"], "hashes" in opencv) == ("pkg:deb/debian/python3-opencv", False)


def test_references_are_unique_and_all_are_dependencies_of_the_application(bill):
    references = [component["bom-ref"] for component in bill["components"]]
    assert len(set(references)) == len(references)
    assert bill["dependencies"] == [{"ref": "application", "dependsOn": sorted(references)}]


def test_equal_contents_have_equal_bytes_and_others_another_number(bill):
    again = sbom("app", "1.0", MODEL, RUNTIME, PARTS, SYSTEM)
    assert json.loads(again) == bill
    assert again == sbom("app", "1.0", MODEL, RUNTIME, PARTS, SYSTEM)
    other = json.loads(sbom("app", "1.1", MODEL, RUNTIME, PARTS, SYSTEM))
    assert other["serialNumber"] != bill["serialNumber"]
    assert re.fullmatch(
        r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", bill["serialNumber"]
    )
    assert "timestamp" not in bill["metadata"]
