// Unchanged SDK clients, driven by lines of JSON on standard input:
// {"operation", "input", "credentials", "endpoint"} in, {"output"} or {"error",
// "message", "status"} out. Of ListExportJobsPages the SDK's own paginator gets all
// pages of ListExportJobs. PROTOCOL is json or cbor, and then the client is
// @aws-sdk/client-mailmanager, or rest for @aws-sdk/client-sesv2.
import { createInterface } from "node:readline";
import * as mailmanager from "@aws-sdk/client-mailmanager";
import * as sesv2 from "@aws-sdk/client-sesv2";
import { AwsJson1_0Protocol } from "@aws-sdk/core/protocols";
import { SmithyRpcV2CborProtocol } from "@smithy/core/cbor";

const rest = process.env.PROTOCOL === "rest";
const protocol = { json: AwsJson1_0Protocol, cbor: SmithyRpcV2CborProtocol }[process.env.PROTOCOL];
const sdk = rest ? sesv2 : mailmanager;
const clients = new Map();

function client(endpoint, credentials) {
  const key = endpoint + credentials.accessKeyId + credentials.secretAccessKey;
  if (!clients.has(key)) {
    const config = { endpoint, credentials, region: "us-east-1", maxAttempts: 1 };
    clients.set(key, rest ? new sesv2.SESv2Client(config) : new mailmanager.MailManagerClient({ ...config, protocol }));
  }
  return clients.get(key);
}

// The client takes dates as such.
const revive = (name, value) => (rest && name.endsWith("Date") ? new Date(value) : value);

for await (const line of createInterface({ input: process.stdin })) {
  const { operation, input, credentials, endpoint } = JSON.parse(line, revive);
  let answer;
  try {
    if (operation === "ListExportJobsPages") {
      const all = [];
      for await (const page of sdk.paginateListExportJobs({ client: client(endpoint, credentials), pageSize: 1 }, input)) {
        all.push(...page.ExportJobs);
      }
      answer = { output: { ExportJobs: all } };
    } else {
      const { $metadata, ...output } = await client(endpoint, credentials).send(new sdk[operation + "Command"](input));
      answer = { output };
    }
  } catch (e) {
    answer = { error: e.name, message: e.message, status: e.$metadata?.httpStatusCode ?? 0 };
  }
  console.log(JSON.stringify(answer));
}
