"""The site of the documentation: `python -m scripts.docs_site` builds it into site/, and so does `make docs`.

    repository (docs/, README, spec/, clients/, examples/) ─▶ links (pure) ─▶ build/docs ─▶ mkdocs, strict ─▶ site/

Pages are written for readers of the repository, so links lead from file to file of it. The pages that are collected for
the site have links to each other, or to a file at GitHub that is no page. The generator reads Markdown and `mkdocs.yml`
alone, so another one may take its place (docs/decisions/0023-site-generator.md).
"""
