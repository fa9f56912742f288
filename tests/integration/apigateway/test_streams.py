"""Streams of DynamoDB that invoke functions of a template."""

from tests.integration.apigateway.test_template_services import ANSWERING, Local, ask, local, project

__all__ = ["local", "project"]


def test_changes_of_a_table_invoke_the_function_of_its_stream_until_it_has_done_them(local: Local) -> None:
    work = """
def work():
    table = boto3.resource("dynamodb").Table(os.environ["ROOMS"])
    for room in ("lobby", "garden"):
        table.put_item(Item={"room": room, "picture": b"x"})
    table.delete_item(Key={"room": "lobby"})
    return "written"
"""
    template = """
  Chat:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: chat, Environment: {Variables: {ROOMS: !Ref Rooms}}, Policies: [AdministratorAccess]}
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: worker
      Events:
        Changes:
          Type: DynamoDB
          Properties:
            Stream: !GetAtt Rooms.StreamArn
            StartingPosition: LATEST
            BatchSize: 1
            FunctionResponseTypes: [ReportBatchItemFailures]
            FilterCriteria: {Filters: [{Pattern: '{"eventName": ["INSERT"]}'}]}
  Rooms:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: room, AttributeType: S}]
      KeySchema: [{AttributeName: room, KeyType: HASH}]
      StreamSpecification: {StreamViewType: NEW_AND_OLD_IMAGES}
"""
    worker = """
failures = 0
def handler(event, context):
    global failures
    for record in event["Records"]:
        change = record["dynamodb"]
        if failures == 0:
            failures += 1
            return {"batchItemFailures": [{"itemIdentifier": change["SequenceNumber"]}]}
        image = change["NewImage"]
        arn = record["eventSourceARN"]
        print("GOT", record["eventName"], image["room"]["S"], image["picture"]["B"], arn.count("/"))
    return {"batchItemFailures": []}
"""
    running = local(template, chat=ANSWERING + work, worker=worker)
    with running.connect("dev") as socket:
        assert ask(socket) == "written"
    running.wait_for("GOT INSERT lobby eA== 3")
    running.wait_for("GOT INSERT garden eA== 3")
    log = running.log.read_text()
    assert log.index("GOT INSERT lobby") < log.index("GOT INSERT garden")
    assert "REMOVE" not in log
