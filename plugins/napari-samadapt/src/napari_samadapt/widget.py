"""`SamadaptWidget`: the plugin's panel."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, Container, FileEdit, Label, LineEdit, PushButton
from napari.layers import Image
from napari.utils.notifications import show_error

from napari_samadapt.annotator import Annotator
from napari_samadapt.client import Client
from napari_samadapt.errors import SamadaptError
from napari_samadapt.keys import KEYS, bind_keys, unbind_keys
from napari_samadapt.layers import BACKGROUND
from napari_samadapt.planes import plane_file, shown_plane
from napari_samadapt.server import LocalServer


class SamadaptWidget(Container):  # type: ignore[misc]
    """Panel to choose an image layer, to start or join a server, and to segment.

    Args:
        napari_viewer: the napari viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        self._viewer = napari_viewer
        self.annotator: Annotator | None = None
        self._server: LocalServer | None = None
        self._client: Client | None = None
        self.image = ComboBox(label="image", choices=lambda _: self._images())
        self.folder = FileEdit(label="project folder", mode="d", value=Path("samadapt-napari"))
        self.server_options = LineEdit(label="options", value="--model nano")
        self.command = LineEdit(label="samadapt program")
        self.url = LineEdit(label="or server")
        self.token = LineEdit(label="its token")
        self.start_button = PushButton(text="Start")
        self.class_name = LineEdit(label="label", value="object")
        self.status = Label(value="Choose an image layer, then Start.")
        buttons = {
            "Background points [T]": lambda: self._toggle(),
            "Undo [Ctrl-Z]": lambda: self._need().undo(),
            "Give up [Shift-C]": lambda: self._need().clear(),
            "Accept [C]": lambda: self._need().accept(),
            "Find similar [N]": lambda: self._need().find_similar(),
            "Accept proposals [Shift-Y]": lambda: self._need().take_all(),
        }
        self.buttons = {text: PushButton(text=text) for text in buttons}
        super().__init__(
            widgets=[
                self.image,
                self.folder,
                self.server_options,
                self.command,
                self.url,
                self.token,
                self.start_button,
                self.class_name,
                *self.buttons.values(),
                self.status,
            ]
        )
        self.token.native.setEchoMode(type(self.token.native).EchoMode.Password)
        self.folder.tooltip = "Planes, objects and what was learned are kept here; it goes on."
        self.server_options.tooltip = "Of samadapt annotate: --model, --adapter, --device, ..."
        self.native.setToolTip("\n".join(f"{key}: {text}" for key, text in KEYS.items()))
        self.start_button.changed.connect(lambda: self.act(self.start))
        self.class_name.changed.connect(self._label_changed)
        for text, action in buttons.items():
            self.buttons[text].changed.connect(lambda *_, action=action: self.act(action))
        napari_viewer.layers.events.inserted.connect(lambda _: self.image.reset_choices())
        napari_viewer.layers.events.removed.connect(self._removed)
        self.native.destroyed.connect(lambda *_: self.stop())

    def act(self, action: Callable[[], Any]) -> None:
        """Call an action, and show its error, if any, in one line."""
        try:
            action()
        except SamadaptError as error:
            self._failed(error)

    def start(self) -> None:
        """Join the server whose address is given, or start one, and add the layers.

        Raises:
            SamadaptError: there is no image layer, its plane cannot be segmented, or the server
                cannot be started or reached.
        """
        layer = self.image.value
        if layer is None:
            raise SamadaptError("there is no image layer: open an image first")
        plane = shown_plane(self._viewer, layer)
        self.stop()
        try:
            if self.url.value.strip():
                url, token = self.url.value, self.token.value
            else:
                self._tell("starting a samadapt server ...")
                options = tuple(shlex.split(self.server_options.value))
                self._server = LocalServer(
                    Path(self.folder.value), plane_file(layer, plane), self.command.value, options
                )
                url, token = self._server.url, self._server.token
            self._client = Client(url, token)
            model = self._client.project()["model"]
            self.annotator = Annotator(self._viewer, layer, self._client, self._tell, self._failed)
        except BaseException:
            self.stop()
            raise
        self._label_changed(self.class_name.value)
        bind_keys(self._viewer, self.annotator, self.act)
        self._tell(f"{model} is ready: click on an object")

    def stop(self) -> None:
        """Disconnect from the server, and stop it if the plugin started it; the layers stay."""
        if self.annotator is not None:
            unbind_keys(self._viewer)
            self.annotator.close()
        if self._client is not None:
            self._client.close()
        if self._server is not None:
            self._server.stop()
        self.annotator, self._client, self._server = None, None, None

    # -- private --------------------------------------------------------------------------

    def _images(self) -> list[Any]:
        return [layer for layer in self._viewer.layers if isinstance(layer, Image)]

    def _removed(self, event: Any) -> None:
        """Stop if the removed layer is the image layer or one of the plugin's own."""
        self.image.reset_choices()
        if self.annotator is None:
            return
        if event.value in (self.annotator.layers.image, *self.annotator.layers.all):
            self.stop()
            self._tell(f"stopped, because the layer {event.value.name!r} was removed: Start again")

    def _need(self) -> Annotator:
        if self.annotator is None:
            raise SamadaptError("no server yet: press Start first")
        return self.annotator

    def _toggle(self) -> None:
        is_background = self._need().layers.toggle_kind() == BACKGROUND
        self._tell(f"points now mark the {'background' if is_background else 'object'}")

    def _label_changed(self, name: str) -> None:
        if self.annotator is not None:
            self.annotator.label = name

    def _tell(self, text: str) -> None:
        self.status.value = text

    def _failed(self, error: Exception) -> None:
        text = " ".join(str(error).split()) or type(error).__name__
        self.status.value = text
        show_error(text)
