//! Arguments of remote calls: values, references to values, and vectors of references, checked at compile time.
//!
//! | the function asks | the caller may give |
//! |---|---|
//! | `T` | a `T`, an `ObjectRef<T>`, a `&ObjectRef<T>` |
//! | `Vec<T>` | also `Vec<ObjectRef<T>>`, `&Vec<ObjectRef<T>>`, `&[ObjectRef<T>]` |
//! | `String` | also `&str` |
//! | `ObjectRef<T>` | a reference, which stays one: the task gets the reference, not the value |
//!
//! A reference given where a value is asked is a data edge: the task starts when the value is there. A reference inside a
//! structure is not.

use std::sync::Arc;

use actinic_actors::{
    cluster::{
        core_worker::{Arrived, ArrivedArg, Exporter},
        objects::Portable,
        wire::WireArg,
    },
    context::ThreadState,
    data::codec::{self, Parts},
    error::{TaskError, TaskErrorKind},
    task::Object,
};
use actinic_gcs::ObjectId;

use crate::{
    data::Data,
    foreign::AwayCell,
    object_ref::{codec_error, decode, encode, seal_if_large, ObjectRef, TypedObject},
};

/// One argument, by value or by reference.
#[derive(Clone)]
pub enum Arg<T> {
    /// The value itself.
    Value(T),
    /// The value of an object.
    Ref(ObjectRef<T>),
    /// Values of several objects, put together.
    Gather(Arc<dyn Gather<T>>),
}

/// Several objects that together make one argument.
pub trait Gather<T>: Send + Sync {
    /// Shows each object.
    fn each(&self, visit: &mut dyn FnMut(Arc<dyn Object>));
    /// Puts the values together.
    ///
    /// # Errors
    /// The first object's error.
    fn gather(&self) -> Result<T, TaskError>;
    /// Each value as it leaves this process, if one of them is somewhere else: then they travel one by one.
    ///
    /// # Errors
    /// The first object's error.
    fn portable(&self) -> Result<Option<Vec<Portable>>, TaskError>;
}

impl<T: Data> Gather<Vec<T>> for Vec<ObjectRef<T>> {
    fn each(&self, visit: &mut dyn FnMut(Arc<dyn Object>)) {
        self.iter().for_each(|object| visit(object.as_object()));
    }

    fn gather(&self) -> Result<Vec<T>, TaskError> {
        self.iter().map(ObjectRef::get).collect()
    }

    fn portable(&self) -> Result<Option<Vec<Portable>>, TaskError> {
        let all = self.iter().map(ObjectRef::encoded).collect::<Result<Vec<_>, _>>()?;
        Ok(all.iter().any(|value| matches!(value, Portable::Away(_))).then_some(all))
    }
}

/// Values that came one by one, some of them as locators.
struct Gathered(Vec<Element>);

#[derive(Clone)]
enum Element {
    Here(Parts),
    Away(Arc<AwayCell<()>>),
}

impl<T: Data> Gather<T> for Gathered {
    fn each(&self, visit: &mut dyn FnMut(Arc<dyn Object>)) {
        for element in &self.0 {
            if let Element::Away(cell) = element {
                visit(cell.clone());
            }
        }
    }

    fn gather(&self) -> Result<T, TaskError> {
        let parts_of = |element: &Element| match element {
            Element::Here(parts) => Ok(parts.clone()),
            Element::Away(cell) => crate::object_ref::parts_here(cell.slot()),
        };
        let all = self.0.iter().map(parts_of).collect::<Result<Vec<_>, _>>()?;
        codec::decode_all(&all).map_err(|error| codec_error::<T>(&error))
    }

    fn portable(&self) -> Result<Option<Vec<Portable>>, TaskError> {
        let each = |element: &Element| match element {
            Element::Here(parts) => Ok(parts.clone().into()),
            Element::Away(cell) => cell.encoded().unwrap_or_else(|| Err(missing())),
        };
        Ok(Some(self.0.iter().map(each).collect::<Result<Vec<_>, _>>()?))
    }
}

fn missing() -> TaskError {
    TaskErrorKind::ObjectStore { message: "an argument is not here though its task has started".to_owned() }.into()
}

impl<T: Data> Arg<T> {
    fn resolve(self) -> Result<T, TaskError> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Ref(object) => object.get(),
            Self::Gather(objects) => objects.gather(),
        }
    }

    fn export(&self, exporter: &Exporter<'_>) -> Result<WireArg, TaskError> {
        Ok(WireArg::Value(match self {
            Self::Value(value) => exporter.value(encode(value)?)?,
            Self::Ref(object) => exporter.value(object.encoded()?)?,
            Self::Gather(objects) => match objects.portable()? {
                None => exporter.value(encode(&objects.gather()?)?)?,
                Some(all) => {
                    let all = all.into_iter().map(|value| exporter.value(value)).collect::<Result<_, _>>()?;
                    return Ok(WireArg::Gather(all));
                }
            },
        }))
    }

    fn import(arg: Option<ArrivedArg>) -> Result<Self, TaskError> {
        match arg {
            Some(ArrivedArg::Value(Portable::Here(parts))) => Ok(Self::Value(decode(&parts)?)),
            Some(ArrivedArg::Value(Portable::Away(away))) => {
                Ok(Self::Ref(ObjectRef::of(Arc::new(AwayCell::new(away)))))
            }
            Some(ArrivedArg::Gather(values)) => {
                let element = |value| match value {
                    Portable::Here(parts) => Element::Here(parts),
                    Portable::Away(away) => Element::Away(Arc::new(AwayCell::new(away))),
                };
                Ok(Self::Gather(Arc::new(Gathered(values.into_iter().map(element).collect()))))
            }
            None => {
                let message = "the call has another number of arguments than the function".to_owned();
                Err(TaskErrorKind::Codec { type_name: std::any::type_name::<T>().to_owned(), message }.into())
            }
        }
    }

    /// The argument, with a large value put into the node's memory: it is not carried about.
    fn promoted(self, thread: &ThreadState) -> Self {
        match self {
            Self::Value(value) => match seal_if_large(thread, &value) {
                Some(object) => Self::Ref(object),
                None => Self::Value(value),
            },
            other => other,
        }
    }

    fn each(&self, visit: &mut dyn FnMut(Arc<dyn Object>)) {
        match self {
            Self::Value(_) => {}
            Self::Ref(object) => visit(object.as_object()),
            Self::Gather(objects) => objects.each(visit),
        }
    }

    fn is_value(&self) -> bool {
        matches!(self, Self::Value(_))
    }
}

/// What may be given where a `T` is asked.
pub trait IntoArg<T> {
    /// The argument.
    fn into_arg(self) -> Arg<T>;
}

impl<T: Data> IntoArg<T> for T {
    fn into_arg(self) -> Arg<T> {
        Arg::Value(self)
    }
}

impl<T: Data> IntoArg<T> for ObjectRef<T> {
    fn into_arg(self) -> Arg<T> {
        Arg::Ref(self)
    }
}

impl<T: Data> IntoArg<T> for &ObjectRef<T> {
    fn into_arg(self) -> Arg<T> {
        Arg::Ref(self.clone())
    }
}

impl<T: Data> IntoArg<ObjectRef<T>> for &ObjectRef<T> {
    fn into_arg(self) -> Arg<ObjectRef<T>> {
        Arg::Value(self.clone())
    }
}

impl<T: Data> IntoArg<Vec<T>> for Vec<ObjectRef<T>> {
    fn into_arg(self) -> Arg<Vec<T>> {
        Arg::Gather(Arc::new(self))
    }
}

impl<T: Data> IntoArg<Vec<T>> for &Vec<ObjectRef<T>> {
    fn into_arg(self) -> Arg<Vec<T>> {
        Arg::Gather(Arc::new(self.clone()))
    }
}

impl<T: Data> IntoArg<Vec<T>> for &[ObjectRef<T>] {
    fn into_arg(self) -> Arg<Vec<T>> {
        Arg::Gather(Arc::new(self.to_vec()))
    }
}

impl IntoArg<String> for &str {
    fn into_arg(self) -> Arg<String> {
        Arg::Value(self.to_owned())
    }
}

/// All arguments of one call.
pub trait ArgSet: Clone + Send + Sync + 'static {
    /// The values.
    type Params: Send;
    /// Gets the values.
    ///
    /// # Errors
    /// The error of the first object that has one.
    fn resolve(self) -> Result<Self::Params, TaskError>;
    /// Shows each object among the arguments.
    fn each(&self, visit: &mut dyn FnMut(Arc<dyn Object>));
    /// The arguments, for another process. All objects among them are there.
    ///
    /// # Errors
    /// The error of the first object that has one, or that something cannot leave this process.
    fn export(&self, exporter: &Exporter<'_>) -> Result<Vec<WireArg>, TaskError>;
    /// Arguments that came from another process.
    ///
    /// # Errors
    /// That one cannot be decoded.
    fn import(args: Arrived<'_>) -> Result<Self, TaskError>;
    /// The arguments, with large values put into the node's memory.
    fn promoted(self, thread: &ThreadState) -> Self;
    /// Whether there is no object among them.
    fn all_values(&self) -> bool;
    /// The ids of the objects; none where there are no objects.
    fn dependencies(&self) -> Option<Box<[ObjectId]>> {
        if self.all_values() {
            return None;
        }
        let mut ids = Vec::new();
        self.each(&mut |object| ids.push(object.id()));
        Some(ids.into_boxed_slice())
    }
}

macro_rules! arg_set {
    ($($name:ident $at:tt),*) => {
        impl<$($name: Data),*> ArgSet for ($(Arg<$name>,)*) {
            type Params = ($($name,)*);

            fn resolve(self) -> Result<Self::Params, TaskError> {
                Ok(($(self.$at.resolve()?,)*))
            }

            #[allow(unused_variables)]
            fn export(&self, exporter: &Exporter<'_>) -> Result<Vec<WireArg>, TaskError> {
                Ok(vec![$(self.$at.export(exporter)?),*])
            }

            #[allow(unused_variables, unused_mut)]
            fn import(mut args: Arrived<'_>) -> Result<Self, TaskError> {
                Ok(($(Arg::<$name>::import(args.next())?,)*))
            }

            #[allow(unused_variables, clippy::unused_unit)]
            fn promoted(self, thread: &ThreadState) -> Self {
                ($(self.$at.promoted(thread),)*)
            }

            #[allow(unused_variables)]
            fn each(&self, visit: &mut dyn FnMut(Arc<dyn Object>)) {
                $(self.$at.each(visit);)*
            }

            fn all_values(&self) -> bool {
                true $(&& self.$at.is_value())*
            }
        }
    };
}

arg_set!();
arg_set!(A 0);
arg_set!(A 0, B 1);
arg_set!(A 0, B 1, C 2);
arg_set!(A 0, B 1, C 2, D 3);
arg_set!(A 0, B 1, C 2, D 3, E 4);
arg_set!(A 0, B 1, C 2, D 3, E 4, F 5);
arg_set!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
arg_set!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
arg_set!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
arg_set!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
