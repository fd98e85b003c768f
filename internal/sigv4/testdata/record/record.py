"""Sends the requests that record.go records, with botocore (what the AWS CLI and boto3 use)."""

import os

from botocore.config import Config
from botocore.session import Session

identity = "a+b/c%d@é.example"
message = "0100 0190+a/b=c@%41&é~!*'();:$,"
token = "a+b/c=d &é~%2B*'!;:@$,()"
arn = "arn:aws:ses:us-east-1:123456789012:identity/a+b@é.example"

session = Session()
session.set_credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
options = {
    "region_name": "us-east-1",
    "endpoint_url": os.environ["AWS_ENDPOINT_URL"],
    "config": Config(retries={"total_max_attempts": 1}),
}
ses = session.create_client("sesv2", **options)
lists = session.create_client("mailmanager", **options)

for call, arguments in [
    (ses.get_email_identity, {"EmailIdentity": identity}),
    (ses.get_email_identity, {"EmailIdentity": ".."}),
    (ses.delete_email_identity, {"EmailIdentity": "plain@example.com"}),
    (ses.get_message_insights, {"MessageId": message}),
    (ses.list_tags_for_resource, {"ResourceArn": arn}),
    (ses.untag_resource, {"ResourceArn": arn, "TagKeys": ["b c", "a/b", "a-b", "é"]}),
    (ses.list_email_identities, {"PageSize": 7, "NextToken": token}),
    (ses.list_configuration_sets, {"PageSize": 7, "NextToken": token}),
    (ses.cancel_export_job, {"JobId": "ef28cf62-9d8e-4b60-9283-b09816c99a99"}),
    (ses.create_export_job, {
        "ExportDataSource": {"MessageInsightsDataSource": {"StartDate": 1790000000, "EndDate": 1790600000}},
        "ExportDestination": {"DataFormat": "CSV"},
    }),
    (lists.create_address_list, {"AddressListName": "Käfer", "ClientToken": "t"}),
    (lists.list_address_lists, {"NextToken": token}),
]:
    try:
        call(**arguments)
    except Exception as error:  # {} is not every operation's answer
        print(error)
