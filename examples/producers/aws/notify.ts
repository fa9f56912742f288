import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { AwsClient } from "aws4fetch";

interface Delivery {
  delivered: number;
  gone: number;
  failed: number;
  unsent: number;
}

interface Refusal {
  status: number;
  code: string;
  message: string;
}

const lambda = new LambdaClient({ maxAttempts: 3 });

/** Publish by Lambda Invoke. The SDK is in Lambda's runtime. */
export async function invoke(publish: object): Promise<Delivery> {
  const { FunctionError, Payload } = await lambda.send(
    new InvokeCommand({ FunctionName: process.env.BROADCAST_FUNCTION, Payload: JSON.stringify(publish) }),
  );
  const answer = JSON.parse(Payload?.transformToString() ?? "{}") as Delivery | Refusal;
  if (FunctionError) throw new Error(`broadcast failed: ${JSON.stringify(answer)}`);
  if ("code" in answer) throw new Error(`${answer.code}: ${answer.message}`);
  return answer;
}

const signed = new AwsClient({
  service: "lambda",
  region: process.env.AWS_REGION ?? "",
  accessKeyId: process.env.AWS_ACCESS_KEY_ID ?? "",
  secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY ?? "",
  sessionToken: process.env.AWS_SESSION_TOKEN ?? "",
});

/** Publish by a signed request to the function's URL: without an SDK, and as on a gateway. */
export async function post(publish: object): Promise<Delivery> {
  const response = await signed.fetch(new URL("v1/publish", process.env.BROADCAST_URL).href, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(publish),
    signal: AbortSignal.timeout(10_000),
  });
  const answer = (await response.json()) as Delivery | Refusal;
  if (!response.ok) throw new Error(`${response.status}: ${JSON.stringify(answer)}`);
  return answer as Delivery;
}

interface Job {
  userId: string;
  jobId: string;
  way: "invoke" | "post";
}

/** A job that ends with a notification to its user. With its id a repetition of the job is no second notification. */
export const handler = async (job: Job): Promise<Delivery> => {
  const publish = {
    target: { user: job.userId },
    message: {
      type: "notification",
      id: job.jobId,
      data: { title: "Job done", message: `By ${job.way}`, severity: "success" },
    },
  };
  return job.way === "invoke" ? invoke(publish) : post(publish);
};
