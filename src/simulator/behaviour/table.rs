//! The table itself.

use super::{Behaviour, assumed, documented, observed};

/// In the order in which a caller meets them.
pub(super) const BEHAVIOURS: &[Behaviour] = &[
    // Routes.
    documented(
        "GET and POST on /v1.0/engagements/referrals, GET, PUT and PATCH on /v1.0/engagements/referrals/{id}",
        "list, get, create, PUT and PATCH pages",
    ),
    documented(
        "GET on /v1.0/referrals?$skiptoken=... continues a list",
        "list page, @odata.nextLink of its example",
    ),
    documented(
        "the spelling /v1.0/engagments/... is answered as well",
        "links in the examples of the get, create and PUT pages",
    ),
    documented(
        "one or two slashes at the end of the path change nothing",
        "Swagger of the certified connector, its three PATCH operations",
    ),
    documented(
        "/engagements/v1/referrals/{id} is answered as well (there on another host)",
        "webhook events page, ResourceUri",
    ),
    assumed(
        "paths are read without case and decoded per segment; empty and dot segments are dropped; /v1 is /v1.0; /v1.0/referrals/{id}, referrals({id}) and referrals('{id}') name one referral",
        "how ASP.NET and OData read paths",
    ),
    assumed(
        "HEAD is answered as GET, without the body",
        "RFC 9110 section 9.3.2",
    ),
    assumed(
        "any other path is 404 itemNotFound",
        "the status is on the error codes page, the case is not",
    ),
    documented("another method is 405", "error codes page lists the status"),
    assumed("a 405 has Allow", "RFC 9110 section 15.5.6"),
    // Headers.
    documented(
        "every answer has Request-ID, timestamp and x-ms-ags-diagnostic",
        "headers page and the answers in the examples",
    ),
    assumed(
        "timestamp is the time as in a referral, x-ms-ags-diagnostic a constant",
        "the headers page names them, their form is not documented",
    ),
    documented(
        "client-request-id, MS-RequestId and MS-CorrelationId come back as sent",
        "headers pages of the Partner API and of the Partner Center API",
    ),
    assumed(
        "client-request-id and MS-Contract-Version may be missing",
        "the headers pages require them, Microsoft's own connector sends neither",
    ),
    assumed(
        "Content-Type may be missing; another than application/json or application/json-patch+json is 415",
        "the status is on the error codes page, the case is not",
    ),
    assumed(
        "Authorization may be missing and is not verified",
        "the service requires a user's token; without this no one could try the simulator with curl",
    ),
    // Lists.
    documented(
        "a page has at most 100 items, and @odata.nextLink when there are more",
        "list page",
    ),
    documented(
        "@odata.nextLink is http://api.partner.microsoft.com/v1.0/referrals?$skiptoken=..., with http, without /engagements, with %2f in lower case",
        "list page, example",
    ),
    assumed(
        "a $skiptoken holds all options of the first page; others beside it are ignored",
        "OData: a next link is opaque to its reader",
    ),
    documented(
        "items have no eTag",
        "list page: no example of any version has one",
    ),
    assumed(
        "an item has its eTag when $select names it",
        "OData $select",
    ),
    documented(
        "@odata.count is there without $count and counts the items of the page",
        "list page, examples",
    ),
    assumed(
        "with $count=true, @odata.count counts all items of the list",
        "OData; the Swagger of the certified connector names the option",
    ),
    documented(
        "$filter by status, substatus, engagementId, updatedDateTime, email, qualification, direction, type, customerProfile/address/country, team/any(t:t/email eq '...')",
        "list page, its table and examples",
    ),
    assumed(
        "$filter also supports id and createdDateTime, eq ne gt ge lt le (text: eq and ne only), and, or, parentheses up to 32 deep; times may stand in quotes; email is that of a team member; ids and addresses compare without case",
        "OData; the page shows examples only",
    ),
    observed(
        "an id in $filter may stand without quotes, as in links.relatedReferrals of a list item",
        "recorded referrals of the service",
    ),
    documented(
        "$orderby createdDateTime and updatedDateTime, asc and desc",
        "list page",
    ),
    assumed(
        "without $orderby the list is in the order of creation",
        "not documented; some order is needed to page",
    ),
    documented(
        "$select names members, e.g. id,status,customerProfile",
        "list page",
    ),
    documented("$top, $skip, $count", "Swagger of the certified connector"),
    assumed(
        "$top may be more than 100 and then takes several pages",
        "OData; the largest value is not documented",
    ),
    assumed(
        "$expand is ignored",
        "the Swagger of the certified connector names it, nothing says what it could expand",
    ),
    assumed(
        "an unknown or repeated option with $, an unknown name or an invalid value is 400 invalidRequest; an option without $ is ignored",
        "OData",
    ),
    // One referral.
    documented(
        "GET of one referral has @odata.context, links and eTag",
        "get page, example",
    ),
    documented(
        "links of single referrals are misspelt (engagments), those of list items are not",
        "get, create, PUT and list pages, examples",
    ),
    documented(
        "the value of eTag has its quotes inside the JSON string",
        "get page, example; Swagger of the certified connector",
    ),
    observed(
        "an eTag is 8-4-4-4-12 hex digits, the last group begins with the second of updatedDateTime",
        "recorded referrals of the service",
    ),
    documented(
        "an answer with one referral has the header ETag",
        "headers page lists it, no example shows it",
    ),
    observed(
        "times have up to seven digits of the second, without zeros at the end",
        "recorded referrals of the service",
    ),
    documented("an unknown id is 404 itemNotFound", "error codes page"),
    assumed(
        "all tenants see the same referrals",
        "the service shows a partner's own; the simulator keeps one set, so that its memory is bounded",
    ),
    // Writes.
    assumed(
        "names of top-level members are read without case; unknown members are kept and come back; of a repeated member the last counts",
        "how ASP.NET reads JSON",
    ),
    assumed(
        "a body that is not JSON (a comma after the last member included) is 400 invalidRequest",
        "the status is on the error codes page; the example of the PUT page has such a comma",
    ),
    documented(
        "status, substatus, type and qualification outside of their lists are refused",
        "resource page, enumerations",
    ),
    assumed(
        "that refusal is 400 invalidRequest, values compare with case, and null is no value",
        "not documented",
    ),
    assumed(
        "a status that may not follow, and a substatus that does not belong to the status, are accepted",
        "the PUT page has the table; no page says how the service answers when a write breaks it",
    ),
    assumed(
        "links, eTag, id, times and other members that the service sets are dropped from a body, whatever their value",
        "the PUT page says to remove links, no page says what else happens",
    ),
    documented(
        "POST requires type, customerProfile, consent and details",
        "create page",
    ),
    assumed(
        "a POST without one of them is 400 invalidRequest",
        "not documented",
    ),
    documented(
        "POST answers 200 with the referral",
        "create page and Swagger of the certified connector; the error codes page lists 201 too",
    ),
    documented(
        "a POST with New and Pending makes an Active and Accepted referral",
        "create page, example",
    ),
    assumed(
        "so does a POST with New and another substatus, or without a status; any other status stays as sent; direction is Outgoing",
        "bulk import page: New and Accepted on creation",
    ),
    documented(
        "PUT requires If-Match",
        "PUT page; Swagger of the certified connector",
    ),
    observed(
        "a stale If-Match is 412 preconditionFailed, target ETag, innerError.code 99918",
        "a 412 in issue 4 of github.com/microsoft/Partner-Center-Referrals",
    ),
    assumed(
        "a PUT without If-Match gets that 412, too",
        "not documented; Microsoft Graph Planner answers so",
    ),
    assumed(
        "If-Match compares character by character; a list or several lines match when one tag does; * matches any; a weak, unquoted or escaped tag never matches",
        "RFC 9110 section 13.1.1",
    ),
    documented(
        "PUT answers 200 with the whole referral, links and a new eTag",
        "PUT page, example",
    ),
    assumed(
        "a PUT replaces: members left out become null or empty; status, substatus, type, qualification, and registrations stay as they were",
        "not documented",
    ),
    documented(
        "PATCH takes an array of add and replace (RFC 6902), sent as application/json",
        "PATCH page",
    ),
    assumed(
        "another operation is 400 invalidRequest and changes nothing",
        "RFC 5789",
    ),
    assumed(
        "add /registrations/- begins the array when there is none",
        "deal registration pages add so to a deal that may have none",
    ),
    assumed(
        "add and replace set a member that is absent; a path through nothing, or past the end of an array, is 400",
        "pages show replace on members a referral may lack; RFC 6902 otherwise",
    ),
    assumed(
        "PATCH with an object merges it, null included",
        "one public program sends it; OData merges so",
    ),
    documented("If-Match is optional on PATCH", "PATCH page"),
    documented(
        "PATCH answers 204, without a body and without ETag",
        "PATCH page, example",
    ),
    documented(
        "PATCH with Prefer: return=representation answers with the referral",
        "PATCH page",
    ),
    assumed("that answer is 200", "not documented"),
    // Errors and limits.
    documented(
        "errors are {\"error\": {code, message, target, innerError: {code, message, details}}}",
        "error codes page",
    ),
    assumed(
        "innerError.code repeats code, except in the 412",
        "only one inner code was ever seen",
    ),
    documented(
        "limits count per tenant (claim tid of the token), writes apart from reads, and every attempt counts",
        "API throttling guidance",
    ),
    documented(
        "over the limit: 429 with Retry-After in seconds and {\"statusCode\": 429, \"message\"}",
        "API throttling guidance",
    ),
    assumed(
        "limits are per minute from a tenant's first request on, 6000 reads and 1200 writes unless set otherwise; without a token the tenant is anonymous",
        "limits are not published",
    ),
    assumed(
        "a body, or a referral, above 1 MiB is 413; more than 10000 referrals or 64 MiB of them are 507",
        "the statuses are on the error codes page, the limits are the simulator's",
    ),
    // Not of the service.
    assumed(
        "the header Simulator-Fault makes a request fail: delay=500ms, status=503, retry-after=5, reset (nothing is done), reset-after (all is done, the answer is lost)",
        "the simulator's own",
    ),
    assumed(
        "the seed makes the referrals at the start; the first three have fixed ids",
        "the simulator's own",
    ),
];
