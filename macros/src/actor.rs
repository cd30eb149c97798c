//! `#[remote]` on an `impl` block: a class of actors.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Error, Ident, ImplItem, ImplItemFn, ItemImpl, LitStr, Result, ReturnType, Type};

use crate::signature::{self, Param, Returned};

struct RemoteMethod {
    name: Ident,
    docs: Vec<syn::Attribute>,
    params: Vec<Param>,
    returned: Returned,
    exclusive: bool,
    is_async: bool,
    group: Option<String>,
}

struct Constructor {
    params: Vec<Param>,
    fallible: bool,
}

pub(crate) fn expand(mut class: ItemImpl) -> Result<TokenStream> {
    if let Some((_, path, _)) = &class.trait_ {
        return Err(Error::new_spanned(path, "#[remote] goes on the type's own impl block, not on a trait's"));
    }
    if !class.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &class.generics,
            "a class of actors cannot be generic: each needs a name of its own",
        ));
    }
    let name = class_name(&class.self_ty)?;
    let mut methods = Vec::new();
    let mut constructor = None;
    for item in &mut class.items {
        let ImplItem::Fn(function) = item else { continue };
        let local = take_attribute(function, "local").is_some();
        let group = take_attribute(function, "concurrency_group")
            .map(|attribute| attribute.parse_args::<LitStr>().map(|text| text.value()))
            .transpose()?;
        if local {
            continue;
        }
        if function.sig.receiver().is_some() {
            methods.push(method(function, group)?);
        } else if function.sig.ident == "new" {
            constructor = Some(constructor_of(function)?);
        }
    }
    let Some(constructor) = constructor else {
        return Err(Error::new_spanned(
            &class.self_ty,
            "a class of actors needs `fn new(..) -> Self`, or `-> Result<Self, E>`",
        ));
    };
    let handle = handle(&name, &class.self_ty, &methods);
    let creation = creation(&name, &class.self_ty, &constructor, methods.iter().any(|method| method.is_async));
    Ok(quote! {
        #class
        #creation
        #handle
    })
}

/// `#[remote]` on the state's type: its handle and options, as visible as the type itself.
pub(crate) fn state(
    state: &syn::Item,
    vis: &syn::Visibility,
    name: &Ident,
    generics: &syn::Generics,
) -> Result<TokenStream> {
    if !generics.params.is_empty() {
        return Err(Error::new_spanned(generics, "a class of actors cannot be generic: each needs a name of its own"));
    }
    let handle = format_ident!("{name}Handle");
    let options = format_ident!("{name}Options");
    let about_handle = format!("A handle to an actor of class [`{name}`]: each method gives a reference at once.");
    let about_options = format!("Options of an actor of class [`{name}`].");
    Ok(quote! {
        #state

        #[doc = #about_handle]
        #[allow(dead_code)]
        #[derive(Clone, Debug)]
        #vis struct #handle(::actinic::__private::ActorHandle<#name>);

        #[doc = #about_options]
        #[allow(dead_code)]
        #[must_use = "nothing is made before remote(..)"]
        #vis struct #options {
            creation: ::actinic::__private::Creation<#name>,
        }
    })
}

fn class_name(of: &Type) -> Result<Ident> {
    match of {
        Type::Path(path) => match path.path.segments.last() {
            Some(last) if last.arguments.is_empty() => Ok(last.ident.clone()),
            _ => Err(Error::new_spanned(of, "a class of actors cannot be generic")),
        },
        _ => Err(Error::new_spanned(of, "a class of actors is a type of this crate")),
    }
}

fn take_attribute(function: &mut ImplItemFn, name: &str) -> Option<syn::Attribute> {
    let at = function.attrs.iter().position(|attribute| attribute.path().is_ident(name))?;
    Some(function.attrs.remove(at))
}

fn method(function: &ImplItemFn, group: Option<String>) -> Result<RemoteMethod> {
    signature::check(&function.sig)?;
    let Some(receiver) = function.sig.receiver() else {
        return Err(Error::new_spanned(&function.sig, "a method takes &self or &mut self"));
    };
    if receiver.reference.is_none() {
        return Err(Error::new_spanned(receiver, "a remote method takes &self or &mut self; mark others #[local]"));
    }
    let docs = function.attrs.iter().filter(|attr| attr.path().is_ident("doc")).cloned().collect();
    let returned = signature::returned(&function.sig.output, false)?;
    if matches!(returned.kind, signature::Kind::Iter(_) | signature::Kind::Stream(_)) {
        return Err(Error::new_spanned(
            &function.sig.output,
            "a method cannot stream: its state would be lent out; give a Vec, or push into a Queue",
        ));
    }
    Ok(RemoteMethod {
        name: function.sig.ident.clone(),
        docs,
        params: signature::params(&function.sig)?,
        returned,
        exclusive: receiver.mutability.is_some(),
        is_async: function.sig.asyncness.is_some(),
        group,
    })
}

fn constructor_of(function: &ImplItemFn) -> Result<Constructor> {
    signature::check(&function.sig)?;
    if let Some(asyncness) = &function.sig.asyncness {
        return Err(Error::new_spanned(
            asyncness,
            "a constructor cannot be async; it may block, on a worker of its own",
        ));
    }
    let fallible = match &function.sig.output {
        ReturnType::Type(_, of) => signature::inside_result(of).is_some(),
        ReturnType::Default => return Err(Error::new_spanned(&function.sig, "`new` gives Self, or Result<Self, E>")),
    };
    Ok(Constructor { params: signature::params(&function.sig)?, fallible })
}

fn creation(name: &Ident, class: &Type, constructor: &Constructor, has_async: bool) -> TokenStream {
    let handle = format_ident!("{name}Handle");
    let options = format_ident!("{name}Options");
    let (names, types): (Vec<_>, Vec<_>) = constructor.params.iter().map(|param| (&param.name, &param.of)).unzip();
    let shown = name.to_string();
    let build = if constructor.fallible {
        quote!(<#class>::new(#(#names),*).map_err(::std::convert::Into::into))
    } else {
        quote!(::std::result::Result::Ok(<#class>::new(#(#names),*)))
    };
    let args = quote!((#(::actinic::__private::IntoArg::<#types>::into_arg(#names),)*));
    quote! {
        #[allow(private_interfaces, dead_code, unreachable_pub)]
        const _: () = {
            impl ::actinic::__private::ActorClass for #class {
                type Args = (#(::actinic::__private::Arg<#types>,)*);
                type Handle = #handle;
                const NAME: &'static str = ::std::concat!(::std::module_path!(), "::", #shown);
                const HAS_ASYNC: bool = #has_async;

                fn build(
                    (#(#names,)*): <Self::Args as ::actinic::__private::ArgSet>::Params,
                ) -> ::actinic::__private::Given<Self> {
                    #build
                }

                fn checkpoints(
                    __every: u64,
                ) -> ::std::option::Option<::actinic::__private::CheckpointFns<Self>> {
                    #[allow(unused_imports)]
                    use ::actinic::__private::{NotSaved as _, Saved as _};
                    (&::actinic::__private::Probe::<#class>::new()).fns(__every)
                }
            }

            #[allow(clippy::too_many_arguments)]
            impl #class {
                /// Makes an actor of this class and gives its handle at once.
                pub fn remote(#(#names: impl ::actinic::__private::IntoArg<#types>),*) -> #handle {
                    Self::options().remote(#(#names),*)
                }

                /// Options of one actor.
                pub fn options() -> #options {
                    #options { creation: ::std::default::Default::default() }
                }
            }

            #[allow(clippy::too_many_arguments)]
            impl #options {
                /// Makes the actor. Where it cannot be made its calls give the reason.
                pub fn remote(self, #(#names: impl ::actinic::__private::IntoArg<#types>),*) -> #handle {
                    ::actinic::__private::create::<#class>(#args, self.creation)
                }

                /// Makes the actor.
                ///
                /// # Errors
                /// If its name is taken, its demand can never be met, or there is no runtime.
                pub fn try_remote(
                    self,
                    #(#names: impl ::actinic::__private::IntoArg<#types>),*
                ) -> ::std::result::Result<#handle, ::actinic::Error> {
                    ::actinic::__private::try_create::<#class>(#args, self.creation)
                }
            }
        };

        ::actinic::__actor_options!(#options, #class);
    }
}

fn handle(name: &Ident, class: &Type, methods: &[RemoteMethod]) -> TokenStream {
    let handle = format_ident!("{name}Handle");
    let calls = methods.iter().map(|method| call(name, method));
    let markers = methods.iter().map(|method| marker(name, class, method));
    let marker_names = methods.iter().map(|method| marker_name(name, method));
    let marker_names: Vec<_> = marker_names.collect();
    quote! {
        #[allow(private_interfaces, dead_code, unreachable_pub, clippy::too_many_arguments)]
        const _: () = {
            impl ::actinic::__private::Handle for #handle {
                type Actor = #class;
                fn raw(&self) -> &::actinic::__private::ActorHandle<#class> {
                    &self.0
                }
                fn from_raw(__raw: ::actinic::__private::ActorHandle<#class>) -> Self {
                    Self(__raw)
                }
            }

            impl ::std::ops::Deref for #handle {
                type Target = ::actinic::__private::ActorHandle<#class>;
                fn deref(&self) -> &Self::Target {
                    &self.0
                }
            }

            impl ::actinic::__private::Serialize for #handle {
                fn serialize<S: ::actinic::__private::Serializer>(
                    &self,
                    __serializer: S,
                ) -> ::std::result::Result<S::Ok, S::Error> {
                    ::actinic::__private::Serialize::serialize(&self.0, __serializer)
                }
            }

            impl<'de> ::actinic::__private::Deserialize<'de> for #handle {
                fn deserialize<D: ::actinic::__private::Deserializer<'de>>(
                    __deserializer: D,
                ) -> ::std::result::Result<Self, D::Error> {
                    ::actinic::__private::Deserialize::deserialize(__deserializer).map(Self)
                }
            }

            impl #handle {
                #(#calls)*
            }

            #(#markers)*

            ::actinic::__private::inventory::submit! {
                ::actinic::__private::RegisteredClass {
                    name: <#class as ::actinic::__private::ActorClass>::NAME,
                    import: ::actinic::__private::import_actor::<#class>,
                    methods: &[#(::actinic::__private::RegisteredMethod {
                        id: ::actinic::__private::method_id::<#marker_names>,
                        import: ::actinic::__private::import_call::<#marker_names>,
                    }),*],
                }
            }
        };
    }
}

fn marker_name(class: &Ident, method: &RemoteMethod) -> Ident {
    format_ident!("__{}_{}", class, method.name)
}

fn call(class: &Ident, method: &RemoteMethod) -> TokenStream {
    let RemoteMethod { name, docs, params, returned, .. } = method;
    let marker = marker_name(class, method);
    let output = returned.output();
    let (names, types): (Vec<_>, Vec<_>) = params.iter().map(|param| (&param.name, &param.of)).unzip();
    quote! {
        #(#docs)*
        #[allow(missing_docs)]
        pub fn #name(
            &self,
            #(#names: impl ::actinic::__private::IntoArg<#types>),*
        ) -> <#output as ::actinic::__private::Output>::Refs {
            ::actinic::__private::call::<#marker>(
                &self.0,
                (#(::actinic::__private::IntoArg::<#types>::into_arg(#names),)*),
            )
        }
    }
}

fn marker(class_name: &Ident, class: &Type, method: &RemoteMethod) -> TokenStream {
    let RemoteMethod { name, params, returned, exclusive, is_async, group, .. } = method;
    let marker = marker_name(class_name, method);
    let output = returned.output();
    let (names, types): (Vec<_>, Vec<_>) = params.iter().map(|param| (&param.name, &param.of)).unzip();
    let shown = format!("{class_name}.{name}");
    let group = match group {
        Some(group) => quote!(::std::option::Option::Some(#group)),
        None => quote!(::std::option::Option::None),
    };
    let params_type = quote!(<Self::Args as ::actinic::__private::ArgSet>::Params);
    let value_type = quote!(<Self::Out as ::actinic::__private::Output>::Value);
    let never = quote! {
        let _ = (__state, __params);
        ::actinic::__private::Body::Now(::std::result::Result::Err("this method is not called this way".into()))
    };
    let now = {
        let given = returned.given(&quote!(<#class>::#name(__state, #(#names),*)));
        quote! {
            let (#(#names,)*) = __params;
            ::actinic::__private::Body::Now(#given)
        }
    };
    let (run, run_shared) = match (is_async, exclusive) {
        (true, _) => (never.clone(), never.clone()),
        (false, true) => (now, never.clone()),
        (false, false) => (now.clone(), now),
    };
    let start = if *is_async {
        let given = returned.given(&quote!(<#class>::#name(__state, #(#names),*).await));
        let lock = if *exclusive {
            quote! {
                let mut __guard = __state.write_arc();
                let ::std::option::Option::Some(__state) = __guard.as_mut() else { return __gone(); };
            }
        } else {
            quote! {
                let __guard = __state.read_arc();
                let ::std::option::Option::Some(__state) = __guard.as_ref() else { return __gone(); };
            }
        };
        quote! {
            let (#(#names,)*) = __params;
            ::std::boxed::Box::pin(async move {
                fn __gone<T>() -> ::actinic::__private::Given<T> {
                    ::std::result::Result::Err("the actor's state is gone".into())
                }
                #lock
                #given
            })
        }
    } else {
        quote! {
            let _ = (__state, __params);
            ::std::boxed::Box::pin(::std::future::ready(::std::result::Result::Err(
                "this method is not async".into(),
            )))
        }
    };
    let id = crate::function::known_id(&quote!(method_id));
    quote! {
        #[allow(non_camel_case_types)]
        struct #marker;

        impl ::actinic::__private::Method for #marker {
            type Actor = #class;
            type Args = (#(::actinic::__private::Arg<#types>,)*);
            type Out = #output;
            const INFO: &'static ::actinic::__private::MethodInfo = &::actinic::__private::MethodInfo {
                name: #shown,
                group: #group,
                exclusive: #exclusive,
                is_async: #is_async,
            };

            #id

            fn run(__state: &mut #class, __params: #params_type) -> ::actinic::__private::Body<#value_type> {
                #run
            }

            fn run_shared(__state: &#class, __params: #params_type) -> ::actinic::__private::Body<#value_type> {
                #run_shared
            }

            fn start(
                __state: ::actinic::__private::StateLock<#class>,
                __params: #params_type,
            ) -> ::actinic::__private::BoxFuture<'static, ::actinic::__private::Given<#value_type>> {
                #start
            }
        }
    }
}
