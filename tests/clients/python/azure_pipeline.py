# azure-core: a PipelineClient with the policies of the clients for Azure. CA: REQUESTS_CA_BUNDLE.
# Over http it fails by design: BearerTokenCredentialPolicy sends a token over https only.
import time

from azure.core import PipelineClient
from azure.core.credentials import AccessToken
from azure.core.pipeline import policies
from azure.core.rest import HttpRequest

from protocol import BASE, TOKEN, serve


class Credential:
    def get_token(self, *scopes, **_):
        return AccessToken(TOKEN, int(time.time()) + 3600)


# In the order of the clients that are generated for Azure.
client = PipelineClient(
    BASE,
    policies=[
        policies.RequestIdPolicy(),
        policies.HeadersPolicy(),
        policies.UserAgentPolicy(),
        policies.ProxyPolicy(),
        policies.ContentDecodePolicy(),
        policies.RedirectPolicy(),
        policies.RetryPolicy(),
        policies.BearerTokenCredentialPolicy(Credential(), "https://api.partner.microsoft.com/.default"),
        policies.CustomHookPolicy(),
        policies.NetworkTraceLoggingPolicy(),
        policies.DistributedTracingPolicy(),
        policies.SensitiveHeaderCleanupPolicy(),
        policies.HttpLoggingPolicy(),
    ],
)


def send(request):
    answer = client.send_request(
        HttpRequest(
            request.method,
            client.format_url(request.relative),
            headers=request.unique_headers,
            content=request.body,
        )
    )
    # send_request does not raise for a status. Clients for Azure then raise HttpResponseError, and its
    # `response` is this answer.
    return answer.status_code, answer.headers.items(), answer.read()


serve(send)
