"""What the environment says of Azure, Bedrock and Vertex AI, in the words of their own SDKs."""

from __future__ import annotations

import pytest

from providers.openai.vendors import VENDORS
from providers.provider import Identity
from proxy.deployments.clouds import azure_url, found, vertex_url
from proxy.deployments.discovery import found_in_environment

KEY = "k-0123456789"
RESOURCE = {"AZURE_OPENAI_ENDPOINT": "https://my.openai.azure.com/"}
REGION = {"AWS_REGION": "eu-west-1"}
BEDROCK = "https://bedrock-runtime.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    ("environ", "base_url", "origin", "key", "version"),
    [
        ({**RESOURCE, "AZURE_OPENAI_API_KEY": KEY}, "https://my.openai.azure.com/openai/v1", "AZURE_OPENAI_API_KEY", KEY, ""),
        (
            {**RESOURCE, "AZURE_OPENAI_API_KEY": KEY, "OPENAI_API_VERSION": "2024-10-21"},
            "https://my.openai.azure.com/openai",
            "AZURE_OPENAI_API_KEY",
            KEY,
            "2024-10-21",
        ),
        (
            {**RESOURCE, "AZURE_CLIENT_SECRET": "s", "AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"},
            "https://my.openai.azure.com/openai/v1",
            "AZURE_CLIENT_SECRET",
            None,
            "",
        ),
        ({**RESOURCE, "IDENTITY_ENDPOINT": "http://x"}, "https://my.openai.azure.com/openai/v1", "IDENTITY_ENDPOINT", None, ""),
    ],
)
def test_a_resource_of_azures_is_found(
    environ: dict[str, str], base_url: str, origin: str, key: str | None, version: str
) -> None:
    cloud = found(VENDORS["azure"], environ)

    assert cloud is not None
    assert (cloud.base_url, cloud.origin, cloud.api_key, cloud.api_version) == (base_url, origin, key, version)


@pytest.mark.parametrize(
    ("environ", "base_url", "origin", "key", "identity"),
    [
        ({**REGION, "AWS_BEARER_TOKEN_BEDROCK": KEY}, BEDROCK, "AWS_BEARER_TOKEN_BEDROCK", KEY, Identity()),
        (
            {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"},
            BEDROCK,
            "AWS_ACCESS_KEY_ID",
            None,
            Identity(region="eu-west-1"),
        ),
        ({**REGION, "AWS_PROFILE": "work"}, BEDROCK, "AWS_PROFILE", None, Identity(region="eu-west-1")),
        (
            {**REGION, "AWS_WEB_IDENTITY_TOKEN_FILE": "/t", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "https://vpce.example/"},
            "https://vpce.example",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            None,
            Identity(region="eu-west-1"),
        ),
    ],
)
def test_an_account_of_awss_is_found(
    environ: dict[str, str], base_url: str, origin: str, key: str | None, identity: Identity
) -> None:
    cloud = found(VENDORS["bedrock"], environ)

    assert cloud is not None
    assert (cloud.base_url, cloud.origin, cloud.api_key, cloud.identity) == (base_url, origin, key, identity)


@pytest.mark.parametrize(
    ("vendor", "environ", "place"),
    [
        (
            "vertex",
            {"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_CLOUD_LOCATION": "europe-west1", "GOOGLE_APPLICATION_CREDENTIALS": "/k.json"},
            "https://europe-west1-aiplatform.googleapis.com/v1beta1/projects/p/locations/europe-west1/publishers/google",
        ),
        (
            "vertex",
            {"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_GENAI_USE_VERTEXAI": "True"},
            "https://aiplatform.googleapis.com/v1beta1/projects/p/locations/global/publishers/google",
        ),
        (
            "vertex-anthropic",
            {"ANTHROPIC_VERTEX_PROJECT_ID": "p", "CLOUD_ML_REGION": "us-east5"},
            "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east5/publishers/anthropic",
        ),
    ],
)
def test_a_project_of_googles_is_found(vendor: str, environ: dict[str, str], place: str) -> None:
    cloud = found(VENDORS[vendor], environ)

    assert cloud is not None
    assert (cloud.base_url, cloud.api_key) == (place, None)


@pytest.mark.parametrize(
    ("vendor", "environ"),
    [
        ("azure", {"AZURE_OPENAI_API_KEY": KEY}),
        ("azure", RESOURCE),
        ("bedrock", {"AWS_ACCESS_KEY_ID": "a"}),
        ("bedrock", REGION),
        ("bedrock", {"AWS_REGION": "us-east-1.evil.test", "AWS_PROFILE": "p"}),
        # Much else of Google's is in a project.
        ("vertex", {"GOOGLE_CLOUD_PROJECT": "p"}),
        ("vertex", {"GOOGLE_APPLICATION_CREDENTIALS": "/k.json"}),
        ("vertex-anthropic", {"GOOGLE_CLOUD_PROJECT": "p", "CLOUD_ML_REGION": "us-east5"}),
        ("openai", {"OPENAI_API_KEY": KEY}),
    ],
)
def test_what_is_not_all_there_is_not_found(vendor: str, environ: dict[str, str]) -> None:
    assert found(VENDORS[vendor], environ) is None


def test_they_are_found_among_the_others() -> None:
    environ = {**RESOURCE, "AZURE_OPENAI_API_KEY": KEY, **REGION, "AWS_PROFILE": "p", "OPENAI_API_KEY": KEY}

    listed = found_in_environment(environ)

    assert [it.vendor for it in listed] == ["openai", "azure", "bedrock"]
    assert KEY not in repr(listed)


@pytest.mark.parametrize(
    "text",
    ["https://r.test", "https://r.test/", "https://r.test/openai", "https://r.test/openai/v1", "https://r.test/openai/v1/"],
)
def test_every_form_of_a_resources_address_is_the_same(text: str) -> None:
    assert azure_url(text, "") == "https://r.test/openai/v1"
    assert azure_url(text, "2024-10-21") == "https://r.test/openai"


def test_an_address_stands_for_the_host_of_a_project_alone() -> None:
    url = vertex_url(VENDORS["vertex"], "p", "us-east5", "http://127.0.0.1:9")

    assert url == "http://127.0.0.1:9/v1beta1/projects/p/locations/us-east5/publishers/google"
