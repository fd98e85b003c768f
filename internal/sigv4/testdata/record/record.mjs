// Sends the requests that record.go records, with the AWS SDK for JavaScript.
import { SmithyRpcV2CborProtocol } from "@smithy/core/cbor";
import * as ses from "@aws-sdk/client-sesv2";
import * as lists from "@aws-sdk/client-mailmanager";

const config = {
  endpoint: process.env.AWS_ENDPOINT_URL,
  region: "us-east-1",
  credentials: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" },
  maxAttempts: 1,
};
const identity = "a+b/c%d@é.example";
const message = "0100 0190+a/b=c@%41&é~!*'();:$,";
const token = "a+b/c=d &é~%2B*'!;:@$,()";
const arn = "arn:aws:ses:us-east-1:123456789012:identity/a+b@é.example";

const email = new ses.SESv2Client(config);
const json = new lists.MailManagerClient(config);
const cbor = new lists.MailManagerClient({
  ...config,
  protocol: new SmithyRpcV2CborProtocol({ defaultNamespace: "com.amazonaws.mailmanager" }),
});

for (const [client, command] of [
  [email, new ses.GetEmailIdentityCommand({ EmailIdentity: identity })],
  [email, new ses.GetEmailIdentityCommand({ EmailIdentity: ".." })],
  [email, new ses.DeleteEmailIdentityCommand({ EmailIdentity: "plain@example.com" })],
  [email, new ses.GetMessageInsightsCommand({ MessageId: message })],
  [email, new ses.ListTagsForResourceCommand({ ResourceArn: arn })],
  [email, new ses.UntagResourceCommand({ ResourceArn: arn, TagKeys: ["b c", "a/b", "a-b", "é"] })],
  [email, new ses.ListEmailIdentitiesCommand({ PageSize: 7, NextToken: token })],
  [email, new ses.ListConfigurationSetsCommand({ PageSize: 7, NextToken: token })],
  [email, new ses.CancelExportJobCommand({ JobId: "ef28cf62-9d8e-4b60-9283-b09816c99a99" })],
  [email, new ses.CreateExportJobCommand({
    ExportDataSource: { MessageInsightsDataSource: { StartDate: new Date(1790000000000), EndDate: new Date(1790600000000) } },
    ExportDestination: { DataFormat: "CSV" },
  })],
  [json, new lists.CreateAddressListCommand({ AddressListName: "Käfer", ClientToken: "t" })],
  [json, new lists.ListAddressListsCommand({ NextToken: token })],
  [cbor, new lists.CreateAddressListCommand({ AddressListName: "Käfer", ClientToken: "t" })],
  [cbor, new lists.ListAddressListsCommand({ NextToken: token })],
]) {
  await client.send(command).catch((error) => console.log(`${error}`)); // {} is not every operation's answer
}
