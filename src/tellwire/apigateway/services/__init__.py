"""The services of AWS that functions call, on this machine: nothing leaves it by accident.

    a function ─▶ AWS_ENDPOINT_URL, or a host of AWS that leads here (hosts)
        ─▶ server: guard ─▶ calls (which service, which action) ─▶ policies
             ├▶ invoke       Lambda Invoke of the template's functions
             ├▶ moto         DynamoDB, SQS, SNS, SSM, Secrets Manager, EventBridge, Cognito user pools, STS
             ├▶ management   a management client without endpoint_url
             └▶ refusal      everything else, with one line

`resources` creates what the template has in them; `schedules`, `queues` and `streams` invoke functions.
"""
