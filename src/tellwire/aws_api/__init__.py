"""Signed calls to AWS APIs: DynamoDB, `@connections`, credentials, and the time limit of a Lambda function.

dynamodb, management ─▶ client ─▶ sigv4, credentials
"""
