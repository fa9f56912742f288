"""The engine on AWS: DynamoDB tables, and a post to `@connections` for each connection."""
