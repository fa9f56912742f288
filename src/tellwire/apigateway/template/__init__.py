"""Reader of templates: the WebSocket API of a SAM or CloudFormation template, or of a synthesized CDK app.

A path goes in, a `Project` comes out. On the way:

    source       path ─▶ the template's text as data, and the directory that its paths start from
    sam          AWS::Serverless::… ─▶ plain CloudFormation, by AWS's own translator, without AWS
    stack        the resources that exist, and the values of `Ref`, `Fn::GetAtt`, conditions and mappings
    api, functions, tables
                 resources ─▶ `Api`, `Function`s, parameters of CreateTable
    unsupported  resources ─▶ notes of those that do not run here

Nothing is guessed: a value that only AWS knows is left out and named in a line of `Project.notes`, or is a
`ConfigError` if a route needs it.
"""

from tellwire.apigateway.template.project import read_project

__all__ = ["read_project"]
