"""The form with which a visitor signs the guestbook."""

from flask_wtf import FlaskForm
from flask_wtf.file import FileField
from wtforms import StringField, TextAreaField
from wtforms.validators import DataRequired, Length, ValidationError

from guestbook import media


def strip(value: object) -> object:
    """Take the blanks around a text away, so that a text of blanks counts as missing."""
    return value.strip() if isinstance(value, str) else value


class MessageForm(FlaskForm):
    """A name, a message, and a picture if one likes."""

    author = StringField("Your name", filters=[strip], validators=[DataRequired("Who are you?"), Length(max=60)])
    text = TextAreaField("Your message", filters=[strip], validators=[DataRequired("Say something."), Length(max=2000)])
    picture = FileField("A picture, if you like")

    def validate_picture(self, field: FileField) -> None:
        """Accept what its first bytes show to be a picture; name and type are only what the visitor says."""
        if field.data and media.extension(field.data) is None:
            message = "Please choose a PNG, JPEG, GIF or WebP picture."
            raise ValidationError(message)
