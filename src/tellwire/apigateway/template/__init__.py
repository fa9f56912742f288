"""Templates: what a SAM or CloudFormation template, or a synthesized CDK app, says of its WebSocket API.

A path goes in, a `Project` comes out. On the way:

    source       path ─▶ the template's text as data, and the directory that its paths start from
    sam          AWS::Serverless::… ─▶ plain CloudFormation, by AWS's own translator, without AWS
    stack        the resources that exist, and what `Ref`, `Fn::GetAtt`, conditions and mappings give
    api, functions, tables
                 resources ─▶ `Api`, `Function`s, parameters of CreateTable
    leftovers    resources ─▶ notes of what does not run here

Nothing is guessed: what only AWS knows is left out and named, in one line each (`Project.notes`), or is a `ConfigError`
where a route cannot do without it.
"""

from tellwire.apigateway.template.project import read_project

__all__ = ["read_project"]
