"""What a project file asks of a conversion."""

from __future__ import annotations

from pathlib import Path

from converters.interface import ConvertRequest, PrepOptions, TaskOptions
from device_runtime.files import refused
from edgekit.project.config import Project


def project_request(
    project: Project, output: Path | None = None, prep: PrepOptions | None = None, task: TaskOptions | None = None
) -> ConvertRequest:
    """Return the conversion of a project's trained model; the folder of the project's own output is made.

    Args:
        project: the project.
        output: the file to write in place of the project's.
        prep: takes the place of what the project says of the preparation.
        task: takes the place of what it says of the outputs.

    Raises:
        UsageError: the project's ``normalise`` is none.
        BadFileError: the project's budget of a search cannot be.
        EdgeError: the folder cannot be made.
    """
    if output is None:
        try:
            project.tflite.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise refused(error, project.tflite.parent, "make the folder") from error
    return ConvertRequest(
        project.source,
        output or project.tflite,
        project.file.model.recipe,
        project.calibration,
        project.labels,
        project.file.prep.options() if prep is None else prep,
        project.file.task if task is None else task,
        input_size=project.file.model.input_size,
        runtimes=project.file.model.runtimes,
        search=project.search,
    )
