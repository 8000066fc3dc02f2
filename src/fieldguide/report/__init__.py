"""One HTML file that tells a finished study: `fieldguide.report.build.build` draws it from the files of the study alone."""
